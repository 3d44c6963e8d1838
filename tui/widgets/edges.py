"""Panels whose upper or left edge can be drawn with the mouse."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import events
from textual.message import Message

from tui.widgets.lines import LineView


class EdgeView(LineView):
    """Tells by how much its edge was drawn; its owner moves it."""

    EDGE: ClassVar[Literal["top", "left"]] = "top"
    _held_at: int | None = None  # the screen's line, or column, of the last message

    class EdgeDrawn(Message):
        """The mouse moved ``by`` cells down, or to the right, with the edge."""

        def __init__(self, view: EdgeView, by: int) -> None:
            super().__init__()
            self.view = view
            self.by = by

    class EdgeLeft(Message):
        """The mouse let the edge go."""

    @property
    def edge(self) -> Literal["top", "left"]:
        """Which edge it is."""
        return self.EDGE

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The title line, or the first column, is the handle."""
        at = event.y if self.edge == "top" else event.x
        if at == 0 and event.button == 1:
            self._held_at = event.screen_y if self.edge == "top" else event.screen_x
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Tell how far."""
        if self._held_at is None:
            return
        now = event.screen_y if self.edge == "top" else event.screen_x
        if now != self._held_at:
            self.post_message(self.EdgeDrawn(self, now - self._held_at))
            self._held_at = now

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """It stays where it is."""
        if self._held_at is not None:
            self._held_at = None
            self.release_mouse()
            self.post_message(self.EdgeLeft())
