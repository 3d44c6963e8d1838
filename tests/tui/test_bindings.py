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

import panel_keys  # noqa: F401 adds its scenarios
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
from tui.widgets.pick_list import PickList

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
        # Not the footer: for half a minute it is below what the keys before this one have reported.
        await sees(keys.pilot, "FAILED", "r resume from step")
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
        screen.feed._period_s = lambda: 600.0
        wake, woken = screen.feed.wake, list[str]()
        screen.feed.wake = lambda: woken.append("r") or wake()  # type: ignore[method-assign,func-returns-value]
        source.view = replace(source.view, runs=runs[:1])
        await keys("HomeScreen", "r", lambda: woken == ["r"])
        await sees(keys.pilot, "1 run, 1 live")
        source.view = replace(source.view, runs=runs)
        await keys.pilot.press("r")
        await sees(keys.pilot, "2 runs, 1 live")
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
