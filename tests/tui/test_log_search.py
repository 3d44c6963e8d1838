"""Searching the log from anywhere, how many matches there are, and folded report lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_source import FakeRun, FakeSource, ListLog
from made_run import MadeRun
from pilots import everything, sees, showing, text_of, until
from textual.message_pump import MessagePump

from launcher.core.run.report import parse
from launcher.core.run.report_types import EpochReport, StepReport
from tui.logs import live_log, match_count
from tui.logs.folding import folded
from tui.logs.log_window import LogWindow, describe
from tui.screens.run import RunScreen
from tui.sources.feed import LogFeed
from tui.sources.live import LiveSource
from tui.sources.messages import LogRead
from tui.widgets.chart import Chart
from tui.widgets.log_view import LogView
from tui.widgets.rank_table import RankTable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("where", [RankTable, LogView, Chart])
async def test_slash_searches_from_every_panel_and_counts_the_matches(where: type) -> None:
    run = FakeRun(2)
    async with showing(FakeSource(run), (120, 48)) as pilot:
        await sees(pilot, "following")
        pilot.app.screen.query(where).first().focus()
        await pilot.press("slash", *"step:. +7/", "enter")
        await sees(pilot, "search step:. +7/ 3/3  held")
        assert pilot.app.screen.query_one(LogView).has_focus
        await pilot.press("N")
        await sees(pilot, "2/3")
        run.logs[0].all.extend(line for line in run.logs[1].all if "step:[    7/" in line)
        await sees(pilot, "2/6")


@pytest.mark.parametrize("hidden", ["4", "z"])
async def test_a_search_shows_a_hidden_log(hidden: str) -> None:
    async with showing(FakeSource(), (120, 36)) as pilot:
        await sees(pilot, "log rank 0")
        await pilot.press(hidden)
        await until(pilot, lambda: "log rank 0" not in everything(pilot))
        await pilot.press("slash", *"traceback", "enter")
        await sees(pilot, "search traceback 1/1", "▶  33 Traceback")


async def test_escape_clears_the_search_and_the_filter_before_it_leaves() -> None:
    async with showing(FakeSource(), (120, 36)) as pilot:
        await sees(pilot, "following")
        await pilot.press("slash", *"traceback", "enter")
        await sees(pilot, "search traceback 1/1")
        await pilot.press("f", *"epoch", "enter")
        await sees(pilot, "filter epoch")
        await pilot.press("escape")
        await until(pilot, lambda: "traceback 1/1" not in everything(pilot))
        assert "filter" not in text_of(pilot, "#log")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("escape")
        await sees(pilot, "2 runs, 1 live")


async def test_reports_are_folded_and_u_unfolds_them() -> None:
    async with showing(FakeSource(), (80, 24)) as pilot:
        await sees(pilot, "epoch 3/20  step 30/45  loss 1.269  epoch mean 2.310  34.0 images/s")
        pilot.app.screen.query_one(LogView).focus()
        await pilot.press("u")
        await sees(pilot, "epoch: [  2/ 20], step:[   29/   45], loss:[1.26")
        await pilot.press("u")
        await sees(pilot, "epoch 3/20  step 30/45")


async def test_a_match_that_folding_would_hide_is_shown_as_it_was_printed() -> None:
    async with showing(FakeSource(), (160, 48)) as pilot:
        await sees(pilot, "following", "epoch 3/20  step 30/45")
        await pilot.press("slash", *"time:.941", "enter")
        await sees(pilot, "120/120", "time:[941.315]")


def test_folded_reports_count_epochs_from_1_and_other_lines_stay() -> None:
    step = (
        "epoch: [  2/ 20], step:[   12/   45], loss:[1.39452/1.41002], time:[941.315], "
        "wait:[12.1], images/s:[34.0], lr:[0.0160000], memory:[1258291200]"
    )
    assert folded(step) == (
        "epoch 3/20  step 13/45  loss 1.395  epoch mean 1.410  lr 0.016  34.0 images/s"
    )
    lines = (ROOT / "tests/launcher/fixtures/reference-log.txt").read_text().splitlines()
    for line in lines:
        report = parse(line)
        if isinstance(report, StepReport):
            assert folded(line).startswith(f"epoch {report.epoch + 1}/")
        elif isinstance(report, EpochReport) and report.epoch is not None:
            assert folded(line).startswith(f"epoch {report.epoch}")
        else:
            assert folded(line) == line
    assert folded("epoch: [ 2/") == "epoch: [ 2/"


@pytest.mark.parametrize("budget", [1, 300, 1 << 20])
def test_matches_are_counted_over_several_turns_as_the_log_grows(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(live_log, "DOWNWARD_BYTES", budget)
    monkeypatch.setattr(match_count, "MATCHES_A_TURN", 7)
    made = MadeRun(own_folders / "runs", "made-1")
    made.start()
    made.steps(20)
    log = LiveSource(read_only=True).open("made-1").log(0)
    window = LogWindow(log, "log rank 0")
    window.frame()
    window.search(r"step:\[ +\d*[05]/")

    def counted(last: str) -> None:
        for _ in range(200):
            if (found := window.frame().matches) == last:
                return
            assert re.fullmatch(r"\d+(/|\+? match)\d*(es)?\+?|\d+\+? matches", found), found
        raise AssertionError(f"not counted to its end: {window.frame().matches}")

    while window.frame().match is None:
        window.again(-1)
    counted("4/4")
    made.steps(11)
    counted("4/7")
    window.again(1)
    while window.frame().note.startswith("no match up to"):
        window.again(1)
    assert window.frame().matches == "5/7"
    made.paths.attempt(1).rank(0).log.write_text("step:[    5/   45]\n")
    window.end()
    counted("1 match")


def test_a_search_that_was_typed_before_the_log_was_read_begins_at_its_end() -> None:
    feed = LogFeed(MessagePump(), lambda: 1.0)
    feed.give(lambda window: window.search("line 3"))
    feed.open(lambda: LogWindow(ListLog([f"line {at}" for at in range(9)]), "log"))
    message = feed.poll()
    assert isinstance(message, LogRead)
    assert (message.frame.match, message.frame.note) == (3, "")


def test_the_title_names_the_search_and_a_huge_count_is_open() -> None:
    lines = [f"line {at}" for at in range(match_count.MOST + 5000)]
    window = LogWindow(ListLog(lines), "log")
    window.frame()
    window.search("nothing")
    window.search("line")
    window.end()
    for _ in range(60):
        window.frame()
    assert window.frame().matches == "100000+ matches"
    assert describe(window.frame()).startswith("log  search line 100000+ matches  following")
    window.clear()
    assert "search" not in describe(window.frame())
