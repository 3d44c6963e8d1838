"""What full screens share: a feed that runs while they are shown, hints, the size check."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from textual import events
from textual.actions import parse
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input, Static

from tui.context import Context, context_of
from tui.drawing.layout import MIN_HEIGHT, MIN_WIDTH, too_small
from tui.drawing.text import key_name
from tui.sources.feed import Feed
from tui.widgets.hint_bar import Hint, HintBar
from tui.widgets.lines import LineView

BLOCKED_S: Final = 2.0  # a terminal that reads nothing for so long gets the next frame anyway
FIRST: Final = ("resume",)
THEN: Final = ("stop", "job('eval')", "job('export')", "results")
LAST: Final = ("help", "quit_dashboard")
# No space in the footer for what everyone knows, or nobody looks for.
PLAIN: Final = (
    "move",
    "page",
    "screen.",
    "quit_now",
    "suspend",
    "command_palette",
    "sideways",
    "app.focus_previous",
)


ScreenT = TypeVar("ScreenT", bound=Screen[Any])
Given = ParamSpec("Given")


def when_composed(
    handler: Callable[Concatenate[ScreenT, Given], None],
) -> Callable[Concatenate[ScreenT, Given], None]:
    """For what happens while a screen opens, where the dashboard is quit at that moment: Textual
    then mounts the screen without its widgets, or without some.
    """

    @wraps(handler)
    def guarded(screen: ScreenT, /, *given: Given.args, **named: Given.kwargs) -> None:
        try:
            handler(screen, *given, **named)
        except NoMatches:
            if not context_of(screen).is_quitting:
                raise

    return guarded


class FeedScreen(Screen[None]):
    """Ends its feed when it is removed. Screens without a feed leave it ``None``."""

    feed: Feed | None = None

    @property
    def dashboard(self) -> Context:
        return context_of(self)

    def answer_feed(self) -> None:
        """Let the feed continue once the terminal has this frame, and record what it cost."""
        app, feed = self.dashboard, self.feed
        started = app.clock()

        def painted(retry_s: float = 0.005) -> None:
            took_s = app.clock() - started
            # A frame also costs the time until the terminal has read its bytes.
            if app.is_behind and took_s < BLOCKED_S:
                self.set_timer(retry_s, lambda: painted(min(retry_s * 2, 0.1)))
                return
            app.pace.record(took_s)
            if feed is not None:
                feed.drawn()

        self.call_after_refresh(painted)

    def on_unmount(self) -> None:
        if self.feed is not None:
            self.feed.end()

    @when_composed
    def on_resize(self, event: events.Resize) -> None:
        """Below the smallest size a message replaces the screen."""
        width, height = event.size
        tiny = too_small(width, height)
        self.set_class(tiny, "-tiny")
        if tiny:
            self.query_one("#too-small", Static).update(
                f"{width} × {height} is too small\nat least {MIN_WIDTH} × {MIN_HEIGHT}\nq: quit"
            )
        self.draw_again()

    def on_screen_suspend(self) -> None:
        self._draw_focused()

    def on_screen_resume(self) -> None:
        self._draw_focused()

    def _draw_focused(self) -> None:
        """The cursor is where the keys go: not under a dialog."""
        if isinstance(self.focused, LineView):
            self.focused.draw()

    def on_descendant_focus(self) -> None:
        self.show_hints()

    # -- keys

    def refusal(self, action: str, parameters: tuple[object, ...]) -> str:
        """Why an action cannot be done now; empty when it can."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done now is offered."""
        return not self.refusal(action, parameters)

    def why_not(self, key: str) -> str:
        """Why a key does nothing now; empty for one without any meaning on this screen."""
        for node, bindings in self._modal_binding_chain:
            for binding in bindings.key_to_bindings.get(key, ()):
                _, name, parameters = parse(binding.action)
                if node is self and (why := self.refusal(name, parameters)):
                    return f"{binding.description}: {why}"
        for widget in self.query("*"):
            for binding in (
                widget._bindings.key_to_bindings.get(key, ()) if widget.can_focus else ()
            ):
                panel = widget.BINDING_GROUP_TITLE
                if panel and binding.description and not isinstance(widget, Input):
                    where = "tab moves to it" if widget.display else "0 shows it"
                    return (
                        f"{key_name(key)} ({binding.description}): in the {panel.lower()}; {where}"
                    )
        return ""

    def hints(self) -> list[Hint]:
        """``(key, what)``, the most useful first; help and quit last."""
        found: dict[str, Hint] = {}
        focused: list[str] = []
        hidden: list[str] = []  # for wide terminals
        for active in self.active_bindings.values():
            binding, is_own = active.binding, active.node not in (self, self.app)
            if not (active.enabled and binding.description):
                continue
            if not binding.show and (
                isinstance(active.node, Input) or binding.action.startswith(PLAIN)
            ):
                continue
            found.setdefault(binding.action, (key_name(binding.key), binding.description))
            if not binding.show:
                hidden.append(binding.action)
            elif is_own:
                focused.append(binding.action)
        others = [action for action in found if action not in (*LAST, *hidden)]
        order = [*FIRST, *focused, *THEN, *others, *hidden, *LAST]
        return [found[action] for action in dict.fromkeys(order) if action in found]

    def show_hints(self) -> None:
        for bar in self.query(HintBar):
            bar.show(self.hints())

    def draw_again(self) -> None:
        """Draw what is known, after a change of size, theme or glyphs."""
        for view in self.query(LineView):
            view.draw()
        self.show_hints()
