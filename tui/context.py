"""What screens and widgets may use of the app around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from textual.dom import DOMNode

from launcher.core.run.requests import Request
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
    read_only: str
    """Why nothing can be changed; empty when it can."""
    is_quitting: bool
    again: str
    """The command that plays a replay again; empty for a live run."""
    clock: Callable[[], float]
    glyphs: Glyphs
    palette: Palette
    pace: Pace

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not read all of an earlier frame."""

    def open_run(self, run: str) -> None:
        """Show a run."""

    def open_comparison(self, runs: list[str]) -> None:
        """Show runs beside each other."""

    def open_profile(self, profile: str) -> None:
        """Prepare a new run."""

    def send(self, target: str, request: Request) -> str:
        """As :meth:`Source.send`; raises :class:`SourceError` also when it is read-only."""

    def keep(self, **changes: Any) -> None:
        """Save settings that the user changed here."""

    def raise_alerts(self, polled: RunFrame | HomeView) -> None:
        """Raise the alerts of what was just polled."""

    def copy_text(self, text: str, what: str) -> None:
        """Copy to the clipboard."""


def context_of(node: DOMNode) -> Context:
    return cast(Context, node.app)
