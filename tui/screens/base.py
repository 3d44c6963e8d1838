"""What the big screens share: a feed that lives while they are shown, hints, the size check."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.screen import Screen
from textual.widgets import Static

from tui.context import Context, context_of
from tui.drawing.layout import MIN_HEIGHT, MIN_WIDTH, too_small
from tui.sources.feed import Feed
from tui.widgets.hint_bar import Hint, HintBar

BLOCKED_S: Final = 2.0  # a terminal that takes nothing for so long gets the next frame anyway
FIRST: Final = ("resume",)
THEN: Final = ("stop", "eval", "export", "results")
LAST: Final = ("help", "quit_dashboard")


class FeedScreen(Screen[None]):
    """Ends its feed when it is covered or removed and starts a new look when it is back."""

    feed: Feed | None = None

    @property
    def dashboard(self) -> Context:
        """The app around this."""
        return context_of(self)

    def start_feed(self) -> None:
        """Start the feed's thread, once."""
        if self.feed is not None and not self.feed.is_alive():
            self.feed.start()

    def answer_feed(self) -> None:
        """Let the feed continue once this frame is on the terminal, and note what it cost."""
        app, feed = self.dashboard, self.feed
        started = app.clock()

        def painted(look_again_s: float = 0.005) -> None:
            took_s = app.clock() - started
            # Bytes that the terminal did not take yet are a part of what the frame costs.
            if app.is_behind and took_s < BLOCKED_S:
                self.set_timer(look_again_s, lambda: painted(min(look_again_s * 2, 0.1)))
                return
            app.pace.note(took_s)
            if feed is not None:
                feed.drawn()

        self.call_after_refresh(painted)

    def on_unmount(self) -> None:
        """No screen, no polling."""
        if self.feed is not None:
            self.feed.end()

    def on_resize(self, event: events.Resize) -> None:
        """Too small is said, not drawn."""
        width, height = event.size
        tiny = too_small(width, height)
        self.set_class(tiny, "-tiny")
        if tiny:
            self.query_one("#too-small", Static).update(
                f"{width} × {height} is too small\nat least {MIN_WIDTH} × {MIN_HEIGHT}\nq: quit"
            )
        self.draw_again()

    def on_descendant_focus(self) -> None:
        """Other keys work now."""
        self.show_hints()

    def hints(self) -> list[Hint]:
        """``(key, what)`` in order of worth: fixes first, help and quit last."""
        found: dict[str, Hint] = {}
        focused: list[str] = []
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.description:
                hint = (self.app.get_key_display(binding), binding.description)
                found.setdefault(binding.action, hint)
                if active.node not in (self, self.app):
                    focused.append(binding.action)
        order = [
            *FIRST,
            *focused,
            *THEN,
            *(action for action in found if action not in LAST),
            *LAST,
        ]
        return [found[action] for action in dict.fromkeys(order) if action in found]

    def show_hints(self) -> None:
        """Draw the hint line."""
        for bar in self.query(HintBar):
            bar.show(self.hints())

    def draw_again(self) -> None:
        """Draw what is known, after a change of size, theme or glyphs."""
        self.show_hints()
