"""Every key of every binding table is pressed, and does what its table says.

A scenario names its keys, must press each of them, and each must bring about what was
not so before. ``test_every_binding_has_a_test`` walks the tables: a new key without a test fails.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_source import RUN, FakeRun, FakeSource
from pilots import sees, showing, until
from pressing import SCENARIOS, Key, Keys, covers
from test_compare_screen import keys_of_the_comparison
from textual.app import App
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

import tui
from launcher.core.run.requests import StacksRequest, StopRequest
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.home import HomeScreen
from tui.screens.new_run import NewRunScreen
from tui.screens.request import RequestScreen
from tui.screens.results import ResultsScreen
from tui.screens.run import RunScreen
from tui.widgets.chart import Chart
from tui.widgets.log_view import LogView
from tui.widgets.pick_list import PickList
from tui.widgets.rank_table import RankTable

SCRIPTS = Path(__file__).parents[2] / "scripts"
# A pilot has no shell to come back to: a real terminal does it.
ELSEWHERE: dict[Key, str] = {("Dashboard", "ctrl+z"): "test_ctrl_z_gives_the_terminal_back"}


def tables() -> Iterator[Key]:
    """Every class's own bindings."""
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if module.name == "tui.__main__":
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ != module.name or not issubclass(kind, App | Widget):
                continue
            for binding in vars(kind).get("BINDINGS", ()):
                assert isinstance(binding, Binding), (kind, binding)
                yield from ((kind.__name__, key) for key in binding.key.split(","))


def test_the_page_of_keys_is_fresh_and_knows_every_table() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import make_key_docs
    finally:
        sys.path.remove(str(SCRIPTS))
    assert make_key_docs.PAGE.read_text("utf-8") == make_key_docs.page(), (
        "python scripts/make_key_docs.py writes it again"
    )
    listed = {kind.__name__ for _, _, kinds in make_key_docs.SCREENS for kind in kinds}
    assert {owner for owner, _ in tables()} == listed


def keys_pressed_beside(name: str) -> set[str]:
    """Keys that other tests press and that mention ``name``: its dialog has separate tests."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        text = path.read_text("utf-8")
        if name not in text or path.name == Path(__file__).name:
            continue
        for node in ast.walk(ast.parse(text)):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr == "press":
                found |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    return found


def test_every_binding_has_a_test() -> None:
    wanted = set(tables())
    covered = set().union(*(keys for _, keys in SCENARIOS.values()), ELSEWHERE)
    other = keys_pressed_beside("new_run")
    covered |= {(owner, key) for owner, key in wanted if owner == "NewRunScreen" and key in other}
    assert wanted - covered == set(), "bindings without a test"
    assert covered - wanted == set(), "tests of keys that are bound no more"
    texts = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert all(f"def {name}(" in texts for name in ELSEWHERE.values())


@covers(CompareScreen="escape c C X l m y tab", HomeScreen="c")
async def comparison(keys: Keys) -> None:
    await keys_of_the_comparison(keys)


@covers(
    CursorList="down j up k pagedown pageup end home G g",
    RankTable="w space enter o O",
    RunLog="a colon 5 left_curly_bracket right_curly_bracket",
    RunPanels="tab shift+tab",
)
async def ranks(keys: Keys) -> None:
    run = FakeRun(16, nodes=2)
    run.late = 11
    async with showing(FakeSource(run), (120, 48)) as keys.pilot:
        await sees(keys.pilot, "RUNNING", "log rank 0")
        table = keys.one(RankTable)
        assert isinstance(table, RankTable)
        for key, row in (
            ("down", 1), ("j", 2), ("up", 1), ("k", 0), ("pagedown", 10), ("pageup", 0),
            ("end", 15), ("home", 0), ("G", 15), ("g", 0),
        ):  # fmt: skip
            await keys("CursorList", key, lambda row=row: table.cursor == row)  # type: ignore[misc]
        await keys("RankTable", "w", lambda: table.cursor == 11)
        await keys("RankTable", "space", keys.seen("▶+"))
        await keys("RankTable", "o", keys.seen("↓late"))
        await keys("RankTable", "O", keys.seen("↑late"))
        await keys("RunLog", "colon", keys.seen("go to the rank with this number"))
        await keys.pilot.press("escape")
        await keys("RunLog", "5", keys.seen("events  following"))
        await keys.pilot.press("5")
        table.focus()
        await keys("RunLog", "left_curly_bracket", keys.seen("attempt 1 is the first"))
        await keys("RunLog", "right_curly_bracket", keys.seen("attempt 1 is the newest"))
        await keys("RunLog", "a", keys.seen("log all 16 ranks"))
        await keys("RankTable", "enter", lambda: keys.one(LogView).has_focus)
        await keys("RunPanels", "tab", lambda: table.has_focus)
        await keys("RunPanels", "shift+tab", lambda: keys.one(LogView).has_focus)


@covers(
    RunPanels="c C l m z 1 2 3 4 0 plus equals_sign minus left_square_bracket right_square_bracket"
)
async def panels(keys: Keys) -> None:
    async with showing(FakeSource(FakeRun(4)), (160, 48)) as keys.pilot:
        await sees(keys.pilot, "RUNNING", "log rank 0", "who is late")
        chart, table = keys.one(Chart), keys.one(RankTable)
        assert isinstance(chart, Chart)
        strip = keys.pilot.app.screen.query_one("#skew")
        await keys("RunPanels", "c", lambda: chart.field.name == "step_time_ms")
        await keys("RunPanels", "C", lambda: chart.field.name == "loss")
        await keys("RunPanels", "l", lambda: chart.log_scale)
        await keys("RunPanels", "m", lambda: chart.smoothing == 0.6)
        height, width = table.size.height, strip.size.width
        for key, lines in (("plus", 1), ("equals_sign", 2), ("minus", 1)):
            await keys("RunPanels", key, lambda by=lines: table.size.height == height + by)  # type: ignore[misc]
        for key, cells in (("left_square_bracket", 2), ("right_square_bracket", 0)):
            await keys("RunPanels", key, lambda by=cells: strip.size.width == width + by)  # type: ignore[misc]
        await keys("RunPanels", "0", lambda: table.size.height == height)
        await keys("RunPanels", "z", keys.gone("log rank 0"))
        await keys.pilot.press("z")
        await sees(keys.pilot, "log rank 0")
        for key, text in (("1", "step time      late"), ("2", "↑ eval"), ("3", "who is late"),
                          ("4", "log rank 0")):  # fmt: skip
            if key == "4":
                await keys.pilot.press("1")
            await keys("RunPanels", key, keys.gone(text))


@covers(
    Chart="left right up k down j H shift+left L shift+right home g end G escape", RunPanels="X"
)
async def charts(keys: Keys) -> None:
    run = FakeRun(4)
    async with showing(FakeSource(run), (160, 48)) as keys.pilot:
        await sees(keys.pilot, "RUNNING", "images/s")
        chart = keys.one(Chart)
        assert isinstance(chart, Chart)
        chart.focus()
        await keys("Chart", "left", lambda: chart.viewport.cursor == 100)
        await keys("Chart", "left", keys.seen("at step 96"))
        await keys("Chart", "right", keys.seen("at step 99"))
        for key, width in (("up", 50), ("k", 25), ("down", 50), ("j", None), ("k", 50)):
            await keys("Chart", key, lambda width=width: chart.viewport.width == width)  # type: ignore[misc]
        await keys.pilot.press("escape", "up")
        for key, end in (("H", 87.5), ("L", 100), ("shift+left", 87.5), ("shift+right", 100)):
            await keys("Chart", key, lambda end=end: chart.viewport.end == end)  # type: ignore[misc]
        await keys.pilot.press("H")
        for key in ("end", "G"):
            await keys("Chart", key, lambda: chart.viewport.end is None)
            await keys.pilot.press("H")
        for key in ("escape", "home", "g"):
            await keys("Chart", key, lambda: chart.viewport.is_plain)
            await keys.pilot.press("up")
        await keys("RunPanels", "X", lambda: run.requests[-1].charts[0].axis == "epoch")


@covers(
    LogView="up k down j pageup ctrl+u pagedown ctrl+d home g end G left h right space n N e E v u",
    RunLog="slash f",
    Prompt="escape",
)
async def log(keys: Keys) -> None:
    run = FakeRun(2)
    run.logs[0].all.insert(50, "Traceback, the second")
    async with showing(FakeSource(run), (120, 48)) as keys.pilot:
        await sees(keys.pilot, "RUNNING", "following")
        view = keys.one(LogView)
        assert isinstance(view, LogView)
        view.focus()
        asked = keys.pilot.app.screen.query_one("#prompt", Input)

        def top() -> int:
            return view.frame.lines[0][0] if view.frame.lines else -1

        await until(keys.pilot, lambda: len(view.frame.lines) == view.rows_wanted)
        last = top()
        page = view.rows_wanted - 1
        for key, line in (
            ("up", last - 1), ("k", last - 2), ("down", last - 1), ("pageup", last - 1 - page),
            ("ctrl+u", last - 1 - 2 * page), ("pagedown", last - 1 - page), ("ctrl+d", last - 1),
            ("home", 0), ("j", 1), ("g", 0), ("end", last),
        ):  # fmt: skip
            await keys("LogView", key, lambda line=line: top() == line)  # type: ignore[misc]
        await keys("LogView", "space", lambda: not view.frame.follow)
        await keys("LogView", "G", lambda: view.frame.follow)
        await keys("LogView", "right", lambda: view._left == 20)
        await keys("LogView", "left", lambda: view._left == 0)
        await keys.pilot.press("right")
        await keys("LogView", "h", lambda: view._left == 0)
        await keys.pilot.press("g")
        for key, line in (("e", 32), ("e", 50), ("E", 32)):
            await keys("LogView", key, lambda line=line: view.frame.match == line)  # type: ignore[misc]
        await keys("RunLog", "slash", lambda: bool(asked.display))
        await keys("Prompt", "escape", lambda: not asked.display)
        await keys.pilot.press("slash", *"traceback", "enter")
        await until(keys.pilot, lambda: view.frame.match == 50)
        await keys("LogView", "N", lambda: view.frame.match == 32)
        await keys("LogView", "n", lambda: view.frame.match == 50)
        await keys("LogView", "u", keys.seen("epoch: ["))
        await keys("LogView", "v", keys.seen("warnings and errors"))
        await keys("RunLog", "f", lambda: bool(asked.display))
        await keys.pilot.press(*"second", "enter")
        await sees(keys.pilot, "filter second")


@covers(
    RunScreen="p R escape",
    RunActions="y s e x i t r b d",
    ConfirmScreen="escape n y c ctrl+y right l left h",
)
async def actions(keys: Keys) -> None:
    source = FakeSource(FakeRun(2))
    async with showing(source, (120, 36)) as keys.pilot:
        app = keys.pilot.app
        await sees(keys.pilot, "RUNNING")
        await keys("RunScreen", "p", keys.seen("display paused"))
        await keys.pilot.press("p")
        await until(keys.pilot, keys.gone("display paused"))
        await keys("RunScreen", "R", lambda: app.pace._by_hand)  # type: ignore[attr-defined]
        await keys("RunActions", "y", lambda: app.clipboard == f"effnet-launch status {RUN}")
        for key, kind in (
            ("e", RequestScreen),
            ("x", RequestScreen),
            ("i", RequestScreen),
            ("t", ResultsScreen),
            ("b", RequestScreen),
        ):
            await keys("RunActions", key, keys.on(kind))
            await keys.pilot.press("escape")
            await until(keys.pilot, keys.on(RunScreen))
        await keys("RunActions", "d", lambda: source.sent == [(RUN, StacksRequest())])
        source.sent.clear()
        stop = f"effnet-launch stop {RUN}"
        await keys("RunActions", "s", keys.on(ConfirmScreen))
        for key, button in (("right", "save"), ("l", "now"), ("left", "save"), ("h", "no")):
            await keys("ConfirmScreen", key, lambda id=button: app.focused.id == id)  # type: ignore[misc,union-attr]
        await keys("ConfirmScreen", "c", lambda: app.clipboard == stop)
        await keys.pilot.press("right", "right")
        await keys("ConfirmScreen", "ctrl+y", lambda: app.clipboard == f"{stop} --no-save")
        for key in ("escape", "n"):
            await keys("ConfirmScreen", key, keys.on(RunScreen))
            await keys.pilot.press("s")
            await until(keys.pilot, keys.on(ConfirmScreen))
        assert source.sent == []
        await keys("ConfirmScreen", "y", lambda: source.sent[-1:] == [(RUN, StopRequest())])
        source.run.fail(1)
        await sees(keys.pilot, "FAILED", "r Resume")
        await keys("RunActions", "r", keys.on(RequestScreen))
        await keys.pilot.press("escape")
        await until(keys.pilot, keys.on(RunScreen))
        await keys("RunScreen", "escape", keys.on(HomeScreen))


class Player:
    """A replay's controls, that records its calls."""

    badge = "replay"

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def pause(self) -> None:
        self.calls.append(("pause", 0))

    def seek(self, by_s: float) -> None:
        self.calls.append(("seek", by_s))

    def faster(self, by: int) -> None:
        self.calls.append(("faster", by))


@covers(RunScreen="comma full_stop less_than_sign greater_than_sign")
async def replay(keys: Keys) -> None:
    source = FakeSource()
    source.run.player = player = Player()
    async with showing(source) as keys.pilot:
        await sees(keys.pilot, "replay", "1 min back/forward")
        for key, call in (
            ("comma", ("seek", -60)), ("full_stop", ("seek", 60)),
            ("less_than_sign", ("faster", -1)), ("greater_than_sign", ("faster", 1)),
        ):  # fmt: skip
            await keys("RunScreen", key, lambda call=call: player.calls[-1:] == [call])  # type: ignore[misc]


@covers(RequestScreen="escape ctrl+s ctrl+y", ResultsScreen="escape t q e x i y")
async def jobs(keys: Keys) -> None:
    source = FakeSource()
    async with showing(source, (100, 30)) as keys.pilot:
        app = keys.pilot.app
        await sees(keys.pilot, "RUNNING")
        for key in ("escape", "t", "q"):
            await keys.pilot.press("t")
            await until(keys.pilot, keys.on(ResultsScreen))
            await keys("ResultsScreen", key, keys.on(RunScreen))
        await keys.pilot.press("t")
        await until(keys.pilot, keys.on(ResultsScreen))
        await keys("ResultsScreen", "y", lambda: app.clipboard == "/runs/x/step-90.ckpt")
        for key, title in (("e", "Evaluate l"), ("x", "Export l"), ("i", "ONNX inference")):
            await keys("ResultsScreen", key, keys.seen(title))
            if key != "i":
                await keys.pilot.press("escape", "t")
                await until(keys.pilot, keys.on(ResultsScreen))
        await keys("RequestScreen", "ctrl+y", lambda: app.clipboard == f"effnet-launch infer {RUN}")
        await keys("RequestScreen", "escape", keys.on(RunScreen))
        await keys.pilot.press("x")
        await until(keys.pilot, keys.on(RequestScreen))
        await keys("RequestScreen", "ctrl+s", lambda: source.sent != [])


@covers(
    CursorList="down j up k pagedown pageup end home G g",
    PickList="enter",
    HomeScreen="tab n r slash escape d delete",
    RunTable="space o O",
    NewRunScreen="slash y ctrl+y Y ctrl+s escape",
)
async def home(keys: Keys) -> None:
    source = FakeSource()
    runs = source.view.runs
    some = [replace(runs[1], run=f"old-{at:02d}") for at in range(20)]
    source.view = replace(source.view, runs=(runs[0], *some))
    async with showing(source, (100, 30), run=None) as keys.pilot:
        app = keys.pilot.app
        await sees(keys.pilot, "21 runs, 1 live")
        table = app.screen.query_one("#runs", PickList)
        for key, row in (
            ("down", 1), ("j", 2), ("up", 1), ("k", 0), ("pagedown", 10), ("pageup", 0),
            ("end", 20), ("home", 0), ("G", 20), ("g", 0),
        ):  # fmt: skip
            await keys("CursorList", key, lambda row=row: table.cursor == row)  # type: ignore[misc]
        await keys("RunTable", "space", keys.seen("1 marked"))
        await keys.pilot.press("g", "space")
        await keys("RunTable", "o", keys.seen("↑state"))
        await keys("RunTable", "O", keys.seen("↓state"))
        await keys("HomeScreen", "slash", lambda: isinstance(app.focused, Input))
        await keys.pilot.press(*"old-07", "enter")
        await until(keys.pilot, keys.seen("1 of 21 runs"))
        for key in ("d", "delete"):
            await keys("HomeScreen", key, keys.on(ConfirmScreen))
            await keys.pilot.press("escape")
        await keys("HomeScreen", "escape", keys.gone("1 of 21 runs"))
        await keys.pilot.press("g")
        await keys("HomeScreen", "tab", lambda: app.screen.query_one("#profiles").has_focus)
        await keys.pilot.press("tab")
        # From now on only the key polls.
        screen = app.screen
        assert isinstance(screen, HomeScreen)
        assert screen.feed is not None
        screen.feed._period_s = lambda: 60.0
        source.view = replace(source.view, runs=runs[:1])
        await keys.pilot.press("r")
        await sees(keys.pilot, "1 run, 1 live")
        source.view = replace(source.view, runs=runs)
        await keys("HomeScreen", "r", keys.seen("2 runs, 1 live"))
        await keys("HomeScreen", "n", keys.on(NewRunScreen))
        await sees(keys.pilot, "effnet-launch start local-cpu")
        await keys("NewRunScreen", "y", lambda: app.clipboard == "effnet-launch start local-cpu")
        await keys("NewRunScreen", "Y", lambda: "plan.json" in app.clipboard)
        await keys("NewRunScreen", "slash", lambda: isinstance(app.focused, Input))
        await keys(
            "NewRunScreen", "ctrl+y", lambda: app.clipboard.startswith("effnet-launch start")
        )
        await keys("NewRunScreen", "escape", keys.on(HomeScreen))
        await keys("PickList", "enter", keys.on(RunScreen))
        await keys.pilot.press("escape")
        await until(keys.pilot, keys.on(HomeScreen))
        await keys.pilot.press("n")
        await sees(keys.pilot, "effnet-launch start local-cpu")
        await keys("NewRunScreen", "ctrl+s", lambda: source.sent != [])


@covers(Dashboard="question_mark T", HelpScreen="escape q question_mark enter j k")
async def help_and_theme(keys: Keys) -> None:
    async with showing(FakeSource(), (80, 24), theme="dark") as keys.pilot:
        app = keys.pilot.app
        await sees(keys.pilot, "RUNNING")
        await keys("Dashboard", "T", lambda: app.theme == "light")
        for key in ("escape", "q", "enter", "question_mark"):
            await keys("Dashboard", "question_mark", keys.on(HelpScreen))
            await keys("HelpScreen", key, keys.on(RunScreen))
        await keys.pilot.press("question_mark")
        await until(keys.pilot, keys.on(HelpScreen))
        shown = app.screen.query_one("#keys")
        await keys("HelpScreen", "j", lambda: shown.scroll_y == 1)
        await keys("HelpScreen", "k", lambda: shown.scroll_y == 0)


@covers(Dashboard="q ctrl+q ctrl+c")
async def leaving(keys: Keys) -> None:
    for key in ("q", "ctrl+q", "ctrl+c"):
        async with showing(FakeSource()) as keys.pilot:
            await sees(keys.pilot, "RUNNING")
            await keys.pilot.press(key)
        assert f"effnet-tui {RUN}" in str(keys.pilot.app.return_value)
        keys.pressed.add(("Dashboard", key))


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_keys(name: str) -> None:
    scenario, wanted = SCENARIOS[name]
    keys = Keys()
    await scenario(keys)
    assert keys.pressed == wanted
