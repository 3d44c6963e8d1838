"""The app: themes, glyphs, pace, settings, alerts, and which screen is shown."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.filter import LineFilter
from textual.screen import Screen

from launcher.core.diagnosis.words import hang_words
from launcher.core.run.requests import Request
from launcher.core.text.terminal import clean, clean_lines
from tui.alerts import Alert, AlertWatch, how_to_notify, run_hook, sequence
from tui.drawing.glyphs import LEVELS, detect_level, glyphs_for
from tui.drawing.text import key_name
from tui.drawing.themes import NAMES, MonoFilter, Palette, SafeFilter, palette_of, themes
from tui.model.run import HomeView, RunFrame
from tui.pace import Pace
from tui.settings import Settings, save, settings_path
from tui.sources.source import READ_ONLY, REPLAY, Source, SourceError
from tui.watchdog import Watchdog


class Dashboard(App[str]):
    """Returns what to print after it has left the terminal."""

    TITLE = "effnet-tui"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance variable
        (0, "-narrow"),
        (100, "-normal"),
        (140, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", id="app.help"),
        Binding("q", "quit_dashboard", "Quit", id="app.quit"),
        Binding(
            "ctrl+c", "quit_now(True)", "Copy selected text, else quit", show=False, priority=True
        ),
        Binding("ctrl+q", "quit_now", "Quit from any dialog", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
        Binding("T", "next_theme", "Next theme", show=False, id="app.theme"),
    ]

    def __init__(
        self,
        source: Source,
        settings: Settings,
        *,
        run: str | None = None,
        profile: str | None = None,
        theme: str | None = None,
        refresh_hz: float | None = None,
        readonly: bool | str = False,
        again: str = "",
        notes: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        at_vanished: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.settings = settings
        why = readonly if isinstance(readonly, str) else REPLAY if again else READ_ONLY
        self.read_only = why if readonly else ""
        self.is_quitting = False
        self.again = again  # the command that plays a replay again
        self.clock = clock
        self.glyphs = glyphs_for(settings.glyphs or detect_level())
        self.pace = Pace(refresh_hz or settings.refresh_hz)
        self._alerts = AlertWatch()
        self._run, self._profile, self._notes = run, profile, notes
        self._at_vanished = at_vanished
        self._mono = MonoFilter()
        self._safe = SafeFilter()
        self._watchdog: Watchdog | None = None
        self.palette: Palette = palette_of("dark")
        for each in themes():
            self.register_theme(each)
        self.theme = self._first_theme(theme or settings.theme)

    def _first_theme(self, wanted: str) -> str:
        if self.no_color:
            return "mono"
        if wanted:
            return wanted
        return "ansi" if self.console.color_system == "standard" else "dark"

    def watch_theme(self, theme: str) -> None:
        """Widgets draw with the palette, so they must be drawn again."""
        self.palette = palette_of(theme)
        if self.is_running:
            self.call_after_refresh(self._draw_again)

    def _draw_again(self) -> None:
        for screen in self.screen_stack:
            redraw = getattr(screen, "draw_again", None)
            if redraw is not None:
                redraw()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, with another one for monochrome; text from outside is cleaned."""
        if self.theme == "mono":
            return [self._safe, self._mono]
        return [self._safe, *super().get_line_filters()]

    def notify(self, message: str, **options: Any) -> None:
        """As Textual's, but without markup and control characters."""
        options["title"] = clean(options.get("title", ""))
        super().notify(clean_lines(message), **{**options, "markup": False})

    def exit(self, *given: Any, **named: Any) -> None:
        """As Textual's; screens that open at that moment know of it."""
        self.is_quitting = True
        super().exit(*given, **named)

    def on_mount(self) -> None:
        from tui.screens.home import HomeScreen

        if self.settings.keymap:
            self.set_keymap(dict(self.settings.keymap))
        for note in self._notes:
            self.notify(note, severity="warning", timeout=10)
        self.push_screen(HomeScreen())
        if self._run is not None:
            self.open_run(self._run)
        elif self._profile is not None:
            self.open_profile(self._profile)
        if not self.is_headless and sys.__stdin__ is not None:
            self._watchdog = Watchdog(sys.__stdin__.fileno(), self._at_vanished)
            self._watchdog.start()

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not read all of an earlier frame."""
        writer = getattr(self._driver, "_writer_thread", None)
        queue = getattr(writer, "_queue", None)
        return queue is not None and not queue.empty()

    def on_unmount(self) -> None:
        if self._watchdog is not None:
            self._watchdog.end()

    def open_run(self, run: str) -> None:
        from tui.screens.run import RunScreen

        self.push_screen(RunScreen(run))

    def open_comparison(self, runs: list[str]) -> None:
        from tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(runs))

    def open_profile(self, profile: str) -> None:
        from tui.screens.new_run import NewRunScreen

        self.push_screen(NewRunScreen(profile))

    def action_quit_dashboard(self) -> None:
        """Quit; runs continue. Prints how to come back."""
        texts = (getattr(screen, "farewell", None) for screen in reversed(self.screen_stack))
        self.exit(next((text() for text in texts if text is not None), ""))

    def action_quit_now(self, copies: bool = False) -> None:
        """Quit also from a dialog or a field; with ``copies`` not while text is selected."""
        selected = self.screen.get_selected_text() if copies else None
        if selected:
            self.copy_text(selected, "selected text")
            self.screen.clear_selection()
        else:
            self.action_quit_dashboard()

    def on_key(self, event: events.Key) -> None:
        """A key that is refused says why."""
        screen = self.screen
        why_not = getattr(screen, "why_not", None)
        if (
            why_not is not None
            and event.key not in screen.active_bindings
            and (why := why_not(event.key))
        ):
            self.notify(why, severity="warning", timeout=5)

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen | CommandPalette):
            self.push_screen(HelpScreen(self.screen))

    def action_next_theme(self) -> None:
        """dark, light, ansi, mono; kept for the next start."""
        at = NAMES.index(self.theme) if self.theme in NAMES else -1
        self.theme = NAMES[(at + 1) % len(NAMES)]
        self.keep(theme=self.theme)
        self.notify(f"theme {self.theme}", timeout=2)

    def action_next_glyphs(self) -> None:
        """braille, block, ascii; kept for the next start."""
        level = LEVELS[(LEVELS.index(self.glyphs.level) + 1) % len(LEVELS)]
        self.glyphs = glyphs_for(level)
        self.keep(glyphs=level)
        self._draw_again()
        self.notify(f"glyphs: {level}", timeout=2)

    def keep(self, **changes: Any) -> None:
        """Save settings that the user changed here, but not in a replay; warns when that fails."""
        self.settings = replace(self.settings, **changes)
        if self.again:
            return
        try:
            save(settings_path(), self.settings)
        except OSError as problem:
            self.notify(f"settings not saved: {problem}", severity="warning")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen in view, for the command palette."""
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if not active.enabled or not binding.description or binding.action in seen:
                continue
            if binding.action.startswith(("move", "page", "focus", "command_palette")):
                continue
            seen.add(binding.action)

            async def act(action: str = binding.action, node: object = active.node) -> None:
                await self.run_action(action, default_namespace=node)  # type: ignore[arg-type]

            yield SystemCommand(binding.description, f"key {key_name(binding.key)}", act)
        yield SystemCommand("Next glyphs", "braille, block or ascii", self.action_next_glyphs)

    def send(self, target: str, request: Request) -> str:
        """Carry out an action, in a worker thread. Raises :class:`SourceError`."""
        if self.read_only:
            raise SourceError(self.read_only)
        return self.source.send(target, request)

    def raise_alerts(self, polled: RunFrame | HomeView) -> None:
        """Each screen calls this with what it polled; a replay raises no alerts."""
        if self.again:
            return
        if isinstance(polled, RunFrame):
            found = [self._alerts.of_frame(polled)]
        else:
            found = [
                self._alerts.of_run(
                    run.run,
                    run.status.value,
                    hang_words(run.hang, polled.now) if run.hang else run.status.value,
                )
                for run in polled.runs
            ]
        for alert in found:
            if alert is not None:
                self.alert(alert)

    def alert(self, alert: Alert) -> None:
        """Bell, desktop notification, and the user's command; the screen already shows it."""
        if self.settings.bell:
            self.bell()
        if self._driver is not None and not self.is_headless:
            how = how_to_notify(self.settings.notify, os.environ)
            self._driver.write(sequence(alert, how, os.environ))
        if self.settings.hook:
            run_hook(self.settings.hook, alert, self._hook_failed)

    def _hook_failed(self, problem: str) -> None:
        with suppress(RuntimeError):  # the app is gone
            self.call_from_thread(self.notify, problem, severity="warning")

    def copy_text(self, text: str, what: str) -> None:
        """Copy through the terminal, and to a file: a terminal does not confirm that it copied."""
        from platformdirs import user_cache_path

        self.copy_to_clipboard(text)
        path = user_cache_path("effnet-tui") / "copied.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", "utf-8")
        except OSError:
            self.notify(f"{what} sent to the terminal's clipboard", timeout=4)
        else:
            self.notify(f"{what} copied; also in {path}", timeout=4)
