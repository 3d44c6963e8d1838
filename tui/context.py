"""What screens and widgets may ask of the app around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

from textual.dom import DOMNode

from tui.drawing.glyphs import Glyphs
from tui.drawing.themes import Palette
from tui.model.run import HomeView, RunFrame
from tui.pace import Pace
from tui.settings import Settings
from tui.sources.source import Source


class Context(Protocol):
    """The app, as far as its screens and widgets know it."""

    source: Source
    settings: Settings
    readonly: bool
    again: str
    """The command that plays a replay again; empty for a live run."""
    clock: Callable[[], float]
    glyphs: Glyphs
    palette: Palette
    pace: Pace

    @property
    def is_behind(self) -> bool:
        """Whether an earlier frame still waits for the terminal to take it."""

    def open_run(self, run: str) -> None:
        """Show a run."""

    def open_profile(self, profile: str) -> None:
        """Prepare a new run."""

    def keep(
        self,
        *,
        theme: str | None = None,
        glyphs: str | None = None,
        panels: Mapping[str, float] | None = None,
    ) -> None:
        """Save settings that the user changed here."""

    def look_for_alerts(self, seen: RunFrame | HomeView) -> None:
        """Raise the alerts of what was just polled."""

    def copy_text(self, text: str, what: str) -> None:
        """Copy to the clipboard."""


def context_of(node: DOMNode) -> Context:
    """The app of a screen or widget."""
    return cast(Context, node.app)
