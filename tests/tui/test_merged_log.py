"""Logs of several ranks as one: by time, nothing lost or moved within a rank."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from fake_source import FakeRun, FakeSource
from made_run import MadeRun
from pilots import sees, showing, text_of

from tui.logs import merged_log
from tui.logs.log_source import LogSource
from tui.logs.log_window import LogWindow
from tui.sources.live import LiveSource
from tui.widgets.log_view import LogView

RANKS = (0, 1, 2)


@pytest.fixture
def made(own_folders: Path) -> MadeRun:
    run = MadeRun(own_folders / "runs", "made-1", ranks=3, time_s=time.time() - 95)
    run.start()
    return run


def merged(made: MadeRun) -> LogSource:
    run = LiveSource(read_only=True).open(made.name)
    from tui.model.run import FrameRequest

    run.frame(FrameRequest())
    return run.merged_log(RANKS)


def own(made: MadeRun, rank: int) -> list[str]:
    return made.paths.attempt(1).rank(rank).log.read_text().splitlines()


def is_whole(made: MadeRun, lines: list[str]) -> None:
    """Every line of every rank is there once, in its rank's order."""
    for rank in RANKS:
        assert [line[3:] for line in lines if line.startswith(f"r{rank} ")] == own(made, rank)
    assert len(lines) == sum(len(own(made, rank)) for rank in RANKS)


def test_merged_lines_are_ordered_by_the_time_of_their_reports(made: MadeRun) -> None:
    made.steps(3)
    made.log(1, "a plain line of rank 1 after its third step")
    made.steps(2)
    log = merged(made)
    assert log.refresh() == 3 * 6 + 1
    lines = list(log.lines(0, 100))
    is_whole(made, lines)
    steps = [match[1] for line in lines if (match := re.search(r"step:\[ +(\d+)/", line))]
    assert steps == [str(step) for step in range(5) for _ in RANKS]
    at = next(index for index, line in enumerate(lines) if "plain" in line)
    assert "step:[    2/" in lines[at - 1]
    assert lines[at - 1].startswith("r1 ")
    assert "step:[    3/" in "".join(lines[at + 1 : at + 5])


@pytest.mark.parametrize(("cut", "slice_"), [(7, 8000), (2000, 5), (2000, 8000)])
def test_no_line_is_lost_or_moved_for_any_chunks(
    made: MadeRun, monkeypatch: pytest.MonkeyPatch, cut: int, slice_: int
) -> None:
    monkeypatch.setattr(merged_log, "CUT_LINES", cut)
    monkeypatch.setattr(merged_log, "MAX_SLICE", slice_)
    made.steps(20)
    for at in range(37):
        made.log(2, f"rank 2 says {at}")
    made.steps(20)
    log = merged(made)
    total = log.refresh()
    lines = list(log.lines(0, total + 5))
    is_whole(made, lines)
    assert [line for at in range(total) for line in log.lines(at, 1)] == lines
    pattern = re.compile(r"^rank 2 says")
    down = log.matches(pattern, 0, 1, 99)
    assert [text for _, text in down] == [f"r2 rank 2 says {at}" for at in range(37)]
    assert log.matches(pattern, total - 1, -1, 99) == down[::-1]
    assert all(lines[at] == text for at, text in down)


def test_new_lines_are_appended_and_line_numbers_stay(made: MadeRun) -> None:
    made.steps(5)
    log = merged(made)
    seen = list(log.lines(0, log.refresh()))
    for at in range(4):
        # Rank 0 talks and does not report: its lines are still the newest ones.
        made.log(0, f"rank 0 talks {at}")
        total = log.refresh()
        assert list(log.lines(0, len(seen))) == seen
        assert log.lines(total - 1, 1) == [f"r0 rank 0 talks {at}"]
        seen = list(log.lines(0, total))
        made.steps(1)
        seen = list(log.lines(0, log.refresh()))
    is_whole(made, seen)


def test_a_replay_that_goes_back_reads_the_logs_again(made: MadeRun) -> None:
    made.steps(5)
    log = merged(made)
    log.refresh()
    path = made.paths.attempt(1).rank(0).log
    first = path.read_text().splitlines(keepends=True)[0]
    path.write_text(first)
    assert log.refresh() == 1 + 6 + 6
    is_whole(made, list(log.lines(0, 100)))


def test_a_long_search_does_not_block_the_screen(
    made: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged_log, "CUT_LINES", 10)
    monkeypatch.setattr(merged_log, "SEARCH_LINES", 40)
    made.steps(60)
    window = LogWindow(merged(made), "log")
    window.frame()
    window.search(r"^start: rank:\[2/3")
    notes = [window.frame().note]
    while window.frame().match is None and len(notes) < 9:
        window.again(-1)
        notes.append(window.frame().note)
    match = window.frame().match
    assert match is not None
    assert match < 3
    assert "the same key continues" in notes[0]


async def test_all_ranks_in_one_log_and_errors_across_them() -> None:
    run = FakeRun(4)
    run.logs[2].all.insert(60, "RuntimeError: only rank 2 says this")
    run.logs[2].all.pop()
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "log rank 0")
        await pilot.press("a")
        await sees(pilot, "log all 4 ranks", "r3 ")
        pilot.app.screen.query_one(LogView).focus()
        await pilot.press("slash", *"only rank 2", "enter")
        await sees(pilot, "r2 RuntimeError: only rank 2 says this")
        await pilot.press("G", "v", "v")
        await sees(pilot, "errors only")
        names = {row[6:9].strip() for row in text_of(pilot, "#log").splitlines()[1:]}
        assert names == {"r0", "r1", "r2", "r3"}
        await pilot.press("g", "e")
        await sees(pilot, "▶ ")
        await pilot.press("a")
        await sees(pilot, "log rank 0")


async def test_marked_ranks_share_a_log_and_the_cursor_moves_down() -> None:
    async with showing(FakeSource(FakeRun(4)), (120, 36)) as pilot:
        await sees(pilot, "log rank 0")
        await pilot.press("space", "j", "j", "space")
        await sees(pilot, "log ranks 0, 2", "▶+")
        await pilot.press("j")
        await sees(pilot, "log ranks 0, 2")
        assert "r1 " not in text_of(pilot, "#log")
        await pilot.press("k", "space", "k", "k", "space")
        await sees(pilot, "log rank 0")


async def test_after_a_failure_enter_opens_the_line_from_the_merged_log() -> None:
    run = FakeRun(4, nodes=2)
    run.fail(2)
    async with showing(FakeSource(run), (120, 48)) as pilot:
        await sees(pilot, "log rank 2")
        await pilot.press("a")
        await sees(pilot, "log all 4 ranks")
        await pilot.press("enter")
        await sees(pilot, "log rank 2", "▶  33 Traceback (most recent call last):")
