"""Panels whose upper or left edge can be dragged with the mouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual import events
from textual.message import Message

from tui.widgets.lines import LineView


class EdgeView(LineView):
    """Reports how far its edge was dragged; its owner moves it."""

    edge: Literal["top", "left"] = "top"
    _held_at: int | None = None  # the screen's line, or column, of the last message

    @dataclass
    class EdgeDragged(Message):
        """The mouse moved the edge ``by`` cells down, or to the right."""

        view: EdgeView
        by: int

    class EdgeReleased(Message):
        """The mouse button was released."""

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The title line, or the first column, is the handle."""
        at = event.y if self.edge == "top" else event.x
        if at == 0 and event.button == 1:
            self._held_at = event.screen_y if self.edge == "top" else event.screen_x
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._held_at is None:
            return
        now = event.screen_y if self.edge == "top" else event.screen_x
        if now != self._held_at:
            self.post_message(self.EdgeDragged(self, now - self._held_at))
            self._held_at = now

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._held_at is not None:
            self._held_at = None
            self.release_mouse()
            self.post_message(self.EdgeReleased())
