"""Scenarios for the keys of the run screen's panels: ranks, charts, log (``test_bindings``)."""

from __future__ import annotations

from fake_source import FakeRun, FakeSource
from pilots import drawn_charts, sees, showing, until
from pressing import Keys, covers
from textual.widgets import Input

from tui.widgets.chart import Chart
from tui.widgets.log_view import LogView
from tui.widgets.rank_table import RankTable


@covers(
    CursorList="down j up k pagedown pageup end home G g",
    RankTable="w space enter o O",
    RunLog="a colon 5 6 left_curly_bracket right_curly_bracket",
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
        await keys("RunLog", "6", keys.seen("took           12 min"))
        await keys.pilot.press("6")
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
        await drawn_charts(keys.pilot)
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
