"""Keys that are offered, refused and explained; themes; and settings that a demo leaves alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_source import RUN, FakeRun, FakeSource
from pilots import everything, sees, showing, until
from textual.containers import Vertical
from textual.pilot import Pilot
from textual.widgets import Input

from tui.app import Dashboard
from tui.drawing.themes import NAMES
from tui.screens.base import FeedScreen
from tui.screens.help import PURPOSES, HelpScreen, key_rows
from tui.screens.run import RunScreen
from tui.settings import Settings, settings_path
from tui.sources.recording import DemoSource
from tui.widgets.hint_bar import fitting


def test_the_footer_leaves_no_room_that_a_key_could_use() -> None:
    hints = [
        ("a", "Something"), ("ctrl+s", "A long one that needs space"), ("b", "Short"), ("c", "C"),
        ("?", "Help"), ("q", "Quit"),
    ]  # fmt: skip
    for width in range(20, 120):
        shown = fitting(hints, width)
        used = sum(len(key) + len(what) + 4 for key, what in shown)
        left = [len(key) + len(what) + 4 for key, what in hints if (key, what) not in shown]
        assert used <= width or shown == hints[-2:]
        assert all(cells > width - used for cells in left)
        assert shown == [hint for hint in hints if hint in shown]


@pytest.mark.parametrize("width", [80, 160, 240])
async def test_the_footer_is_full_with_the_most_important_key_first(width: int) -> None:
    async with showing(FakeSource(), (width, 40)) as pilot:
        await sees(pilot, "RUNNING", "s Stop")
        screen = pilot.app.screen
        assert isinstance(screen, FeedScreen)
        line = everything(pilot).splitlines()[-1]
        assert line.startswith(" s Stop")
        assert line.rstrip().endswith("? Help   q Quit")
        smallest = min(len(key) + len(what) + 4 for key, what in screen.hints())
        everything_fits = len(screen.hints()) == len(fitting(screen.hints(), width))
        assert everything_fits or width - len(line) < smallest + 20


@pytest.mark.parametrize(
    ("state", "readonly", "checkpoints", "key", "words"),
    [
        ("running", True, True, "s", "Stop: started with --readonly"),
        ("failed", True, True, "r", "Resume: started with --readonly"),
        ("running", False, True, "r", "Resume: the run is running"),
        ("finished", False, True, "s", "Stop: the run is finished already"),
        ("running", False, False, "e", "Eval: the run has no checkpoint yet"),
        ("running", False, True, "n", "n (Next match): in the log; tab moves to it"),
        ("running", False, True, "full_stop", "Forward 1 min: only in effnet-tui --replay"),
    ],
)
async def test_a_refused_key_says_why(
    state: str, readonly: bool, checkpoints: bool, key: str, words: str
) -> None:
    run = FakeRun(2, state)
    if state == "failed":
        run.fail(1)
    if not checkpoints:
        run.checkpoints = ()
    async with showing(FakeSource(run), (100, 30), readonly=readonly) as pilot:
        await sees(pilot, state.upper(), "log rank")
        await pilot.press(key)
        await sees(pilot, words)


async def test_home_deletes_no_run_while_the_cursor_is_in_the_profiles() -> None:
    async with showing(FakeSource(), (100, 30), run=None) as pilot:
        await sees(pilot, "2 runs", "d Delete")
        home = pilot.app.screen
        await pilot.press("tab")
        await until(pilot, lambda: "d Delete" not in everything(pilot))
        await pilot.press("d")
        await sees(pilot, "Delete: the cursor is not in the runs; tab moves it")
        assert pilot.app.screen is home


async def test_results_say_why_nothing_can_be_started() -> None:
    async with showing(FakeSource(), (100, 30), readonly=True) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "Results of")
        await pilot.press("e")
        await sees(pilot, "started with --readonly")


async def test_a_run_with_a_script_of_its_own_offers_no_jobs_of_the_trainer() -> None:
    run = FakeRun(2, "finished")
    run.runs_script = True
    async with showing(FakeSource(run), (140, 30)) as pilot:
        await sees(pilot, "FINISHED", "t Results")
        assert "e Eval" not in everything(pilot)
        await pilot.press("e")
        await sees(pilot, "eval is for the bundled trainer; this run has a script of its own")
        await pilot.press("t")
        await sees(pilot, "Results of", "y copies the path")
        assert "e evaluate" not in everything(pilot)
        await pilot.press("e")
        await sees(pilot, "this run has a script of its own: evaluate with it")


async def test_a_key_without_any_meaning_says_nothing() -> None:
    async with showing(FakeSource(), (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("f9", "Q")
        assert not pilot.app.screen.query("Toast")


async def test_help_is_grouped_by_what_keys_are_for() -> None:
    async with showing(FakeSource(), (120, 60)) as pilot:
        await sees(pilot, "RUNNING")
        rows = key_rows(pilot.app.screen)
        titles = list(dict.fromkeys(title for title, _, _ in rows))
        assert titles == [title for title in PURPOSES if title in titles]
        assert {"Act", "Find", "Move", "Panels", "Dashboard"} <= set(titles)
        assert ("Act", "s", "Stop") in rows
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await sees(pilot, "Act", "Find", "Stop")


Keys = Sequence[str]
PLACES: dict[str, Keys] = {
    "run": (), "log": ("tab",), "search": ("slash", *"abc"), "stop": ("s",), "form": ("e",),
    "field": ("b", "x"), "results": ("t",), "help": ("question_mark",), "home": ("escape",),
    "new run": ("escape", "n"), "its field": ("escape", "n", "slash", "x"),
}  # fmt: skip


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_it_can_be_quit_from_everywhere(place: str, key: str) -> None:
    async with showing(FakeSource(), (100, 30)) as pilot:
        await sees(pilot, "RUNNING", "log rank")
        for pressed in PLACES[place]:
            await pilot.press(pressed)
            await pilot.pause()
        focused = pilot.app.focused
        if isinstance(focused, Input):
            focused.select_all()  # as when it gets the focus
        await pilot.press(key)
        await until(pilot, lambda: pilot.app._exit)
    assert pilot.app.return_value is not None


@pytest.mark.parametrize("place", ["run", "new run", "compare", "stop", "form", "results"])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_it_can_be_quit_while_a_screen_opens(
    place: str, has_begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with showing(FakeSource(), (100, 30)) as pilot:
        await sees(pilot, "RUNNING", "log rank")
        app, run = pilot.app, pilot.app.screen
        assert isinstance(app, Dashboard)
        assert isinstance(run, RunScreen)
        {
            "run": lambda: app.open_run("old-run"),
            "new run": lambda: app.open_profile("local-cpu"),
            "compare": lambda: app.open_comparison([RUN, "old-run"]),
            "stop": run.action_stop,
            "form": lambda: run.action_job("eval"),
            "results": run.action_results,
        }[place]()
        assert app.screen is not run
        if has_begun:  # it has its outer widgets, and gets no inner ones
            monkeypatch.setattr(Vertical, "compose", lambda self: app.exit() or ())  # type: ignore[func-returns-value]
            await until(pilot, lambda: app.is_quitting)
        app.exit()


async def test_ctrl_c_copies_selected_text() -> None:
    async with showing(FakeSource(), (100, 30), run=None, profile="local-cpu") as pilot:
        await sees(pilot, "effnet-launch start local-cpu")
        screen = pilot.app.screen
        screen.query_one("#plan").text_select_all()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "effnet-launch start local-cpu" in pilot.app.clipboard)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: pilot.app._exit)


def colours(pilot: Pilot[str]) -> list[list[tuple[str, object]]]:
    """Every cell's character and style."""
    return [
        [(char, part.style) for part in strip for char in part.text]
        for strip in pilot.app.screen._compositor.render_strips()
    ]


@pytest.mark.parametrize(
    ("place", "theme"),
    [*(("log", theme) for theme in NAMES), ("stop", "light"), ("results", "light"),
     ("home", "light"), ("new run", "light")],
)  # fmt: skip
async def test_a_theme_change_repaints_everything(
    place: str, theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.pace import Pace

    monkeypatch.setattr(Pace, "record", lambda self, cost_s: None)  # a busy machine is no news

    async def drawn(first: str, pause_s: float) -> list[list[tuple[str, object]]]:
        async with showing(FakeSource(), (100, 30), theme=first, clock=lambda: 0.0) as pilot:
            await sees(pilot, "RUNNING", "log rank", "xxxx")
            for key in PLACES[place]:
                await pilot.press(key)
                await pilot.pause()
            if place == "home":
                await sees(pilot, "2 runs")
            if place == "new run":
                await sees(pilot, "ctrl+s: start", "effnet-launch start")
            while pilot.app.theme != theme:
                await pilot.press("T")
                if place in ("stop", "results", "help"):  # a dialog takes the keys
                    pilot.app.theme = theme
            pilot.app.clear_notifications()
            await pilot.pause(pause_s)
            return colours(pilot)

    for pause_s in (0.3, 2.0, 10.0):  # a busy machine may not have painted all of it
        fresh = await drawn(theme, pause_s)
        changed = await drawn("light" if theme == "dark" else "dark", pause_s)
        if changed == fresh:
            break
    wrong = [
        (y, "".join(char for char, _ in line))
        for y, (line, wanted) in enumerate(zip(changed, fresh, strict=True))
        if line != wanted
    ]
    assert wrong == []


async def test_a_demo_writes_no_settings() -> None:
    source = DemoSource(speed=20)
    try:
        app = Dashboard(
            source, Settings(), run=str(source.run), readonly=True, again="effnet-tui --demo"
        )
        async with app.run_test(size=(100, 30)) as pilot:
            await sees(pilot, "local-cpu-8p-demo", "log rank")
            await pilot.press("T", "plus", "0")
            app.action_next_glyphs()
            assert app.theme != "dark"
        assert not settings_path().exists()
    finally:
        source.close()
