"""Earlier attempts stay visible: in the header, by their ranks, logs and card, and as events."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from made_run import MadeRun
from pilots import everything, sees, showing, text_of, until
from textual.pilot import Pilot

from launcher import client
from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.events import (
    AttemptStopped,
    Failure,
    FailureKind,
    StopRequested,
)
from launcher.core.run.state import AttemptState, RunStatus
from launcher.core.text.figures import percent
from tui.drawing.attempts import earlier_words, end_of
from tui.drawing.themes import DARK
from tui.model.run import FrameRequest
from tui.screens.home import HomeScreen
from tui.screens.run import RunScreen
from tui.sources.live import LiveSource
from tui.sources.replay import ReplaySource
from tui.widgets.rank_table import RankTable
from tui.widgets.run_header import RunHeader

NAME = "made-1"
SIZES = [(60, 16), (80, 24), (120, 36), (160, 48)]


@pytest.fixture
def made(own_folders: Path) -> MadeRun:
    """Attempt 1: rank 1 was killed in epoch 3. Attempt 2 was stopped. Attempt 3 trains."""
    run = MadeRun(own_folders / "runs", NAME, ranks=4, time_s=time.time() - 213)
    run.start()
    run.steps(100)
    run.fail(1)
    run.start(StartCheckpoint("/c/step-90.ckpt", 2, 90, "newest", 10))
    run.steps(50)
    run.event(StopRequested("maria", True))
    run.event(AttemptStopped(2, run.step))
    run.start(StartCheckpoint("/c/step-135.ckpt", 3, 135, "newest", 5))
    run.steps(60)
    return run


def live(size: tuple[int, int] = (120, 36), **options: object):  # type: ignore[no-untyped-def]
    source = LiveSource(read_only=True)
    return showing(source, size, NAME, **options)  # type: ignore[arg-type]


def top(pilot: Pilot[str]) -> list[str]:
    return text_of(pilot, "#header").splitlines()


async def test_the_header_names_how_earlier_attempts_ended(made: MadeRun) -> None:
    async with live() as pilot:
        await sees(pilot, "RUNNING", "attempt 3 (1: rank 1 SIGKILL · 2: stopped)")


@pytest.mark.parametrize("size", SIZES)
async def test_an_earlier_attempt_is_shown_with_all_of_it_and_is_not_taken_for_the_live_one(
    made: MadeRun, size: tuple[int, int]
) -> None:
    async with live(size, theme="dark") as pilot:
        await sees(pilot, "RUNNING", "attempt 3", "log rank 0")
        await pilot.press("{")
        await sees(pilot, "ATTEMPT 2 OF 3: STOPPED", "NOT LIVE  esc: back to attempt 3, RUNNING")
        assert "failed first" not in everything(pilot)
        await pilot.press("{")
        await sees(pilot, "ATTEMPT 1 OF 3: FAILED", "rank 1 on localhost failed first", "SIGKILL")
        await sees(pilot, "attempt 2 resumed from step 90 (2 epochs done), 10 steps")
        assert "effnet-launch resume" not in everything(pilot)
        if size[1] > 16:
            await sees(pilot, "log rank 1 localhost attempt 1", "MemoryError: Unable to allocate")
            rows = text_of(pilot, "#ranks").splitlines()
            assert any("SIGKILL" in row and "10/45" in row for row in rows)
        header = pilot.app.screen.query_one(RunHeader)
        line = header._lines[1]
        assert line.cell_length == size[0]
        assert {part.style for part in line} == {DARK.badges["warn"]}
        await pilot.press("{")
        await sees(pilot, "attempt 1 is the first")
        await pilot.press("escape")
        await until(pilot, lambda: "NOT LIVE" not in everything(pilot))
        await sees(pilot, "RUNNING", "attempt 3")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HomeScreen))


async def test_keys_go_both_ways_and_the_last_one_is_live_again(made: MadeRun) -> None:
    async with live() as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        for key, text in (
            ("{", "ATTEMPT 2 OF 3"), ("{", "ATTEMPT 1 OF 3"), ("}", "ATTEMPT 2 OF 3"),
            ("}", "RUNNING  made-1  attempt 3"),
        ):  # fmt: skip
            await pilot.press(key)
            await sees(pilot, text)
        await pilot.press("}")
        await sees(pilot, "attempt 3 is the newest")


async def test_keys_that_are_faster_than_frames_go_as_many_attempts_back(made: MadeRun) -> None:
    async with live() as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        for by in (-1, -1, 1, -1):
            screen.action_attempt(by)
        await sees(pilot, "ATTEMPT 1 OF 3")


async def test_an_earlier_attempt_stays_while_the_run_goes_through_others(made: MadeRun) -> None:
    """What happens to the run is told, and neither its keys nor its alerts are of the old one."""
    async with live() as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        await pilot.press("{", "{")
        await sees(pilot, "ATTEMPT 1 OF 3", "log rank 1 localhost attempt 1")
        made.fail(2)
        await sees(pilot, "back to attempt 3, FAILED")
        assert "ATTEMPT 1 OF 3" in everything(pilot)
        assert "rank 1 on localhost failed first" in everything(pilot)
        made.start()
        await sees(pilot, "ATTEMPT 1 OF 4", "back to attempt 4")
        assert "log rank 1 localhost attempt 1" in everything(pilot)
        await pilot.press("escape")
        await sees(pilot, "attempt 4 (")


async def test_events_take_the_place_of_the_log_and_are_searched_as_it_is(made: MadeRun) -> None:
    async with live((120, 48)) as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        await pilot.press("5")
        await sees(pilot, "events  following", "attempt started: attempt 3, 4 ranks, from step 135")
        await pilot.press("slash", *"failed", "enter")
        await sees(pilot, "search failed 1/1", "attempt failed: rank 1 on localhost: the kernel")
        await pilot.press("escape", "{", "{")
        await sees(pilot, "events attempt 1", "attempt failed", "rank exited: rank 1 on localhost")
        assert "attempt stopped" not in text_of(pilot, "#log")
        assert "rank started" not in text_of(pilot, "#log")
        pilot.app.screen.query_one(RankTable).focus()
        await pilot.press("j", "k")
        await sees(pilot, "events attempt 1")
        await pilot.press("5")
        await sees(pilot, "log rank", "attempt 1")


async def test_where_the_time_went_takes_the_place_of_the_log(made: MadeRun) -> None:
    reader = client.open_run(made.paths.root)
    reader.poll_state()
    whole = reader.goodput()
    async with live((160, 48)) as pilot:
        await sees(pilot, "RUNNING", "log rank 0", "goodput ")
        await pilot.press("6")
        await sees(pilot, "time  goodput", "attempt 3", "attempt 1", "compute", "down")
        lines = text_of(pilot, "#log").splitlines()
        compute = next(line for line in lines if "compute  " in line)
        assert compute.count("%") == 1 + sum(part.compute_s >= 0.05 for part in whole.attempts)
        await pilot.press("{", "{")
        await sees(pilot, "ATTEMPT 1 OF 3", f"goodput {percent(whole.attempts[0].share)}")
        await pilot.press("6")
        await sees(pilot, "log rank")


async def test_attempts_of_a_replay_are_shown_as_far_as_it_has_come(made: MadeRun) -> None:
    source = ReplaySource(speed=2000.0)
    try:
        async with showing(source, (120, 36), NAME, again="effnet-tui --replay x") as pilot:  # type: ignore[arg-type]
            await sees(pilot, "replay at its end", "attempt 3 (1: rank 1 SIGKILL")
            await pilot.press("p", "{", "{")
            await sees(pilot, "ATTEMPT 1 OF 3: FAILED")
            for _ in range(5):
                await pilot.press(",")
            await until(pilot, lambda: "NOT LIVE" not in everything(pilot))
    finally:
        source.close()


def test_a_frame_has_the_values_of_its_attempt(made: MadeRun) -> None:
    run = LiveSource(read_only=True).open(NAME)
    first = run.frame(FrameRequest(attempt=1)).snapshot
    assert (first.attempt, first.is_earlier, first.attempt_status) == (1, True, RunStatus.FAILED)
    assert first.status is RunStatus.RUNNING
    assert (first.steps_done, first.eta_s, first.hang, first.is_stalled) == (100, None, None, False)
    assert [rank.status.value for rank in first.ranks] == [
        "stopped",
        "failed",
        "stopped",
        "stopped",
    ]
    newest = run.frame(FrameRequest()).snapshot
    assert (newest.attempt, newest.is_earlier, newest.attempt_status) == (3, False, newest.status)
    assert newest.steps_done == 195
    assert run.frame(FrameRequest(attempt=99)).snapshot.attempt == 3
    assert list(run.log(0, 2).tail(1)) != list(run.log(0, 1).tail(1))


def attempt(number: int, status: RunStatus, failure: Failure | None = None) -> AttemptState:
    return AttemptState(number, 2, 0.0, status, failure=failure)


def test_ends_of_attempts_in_a_few_words() -> None:
    killed = Failure(FailureKind.SIGNAL, "killed", rank=1, signal=9)
    node = Failure(FailureKind.NODE, "gone", node="node-b")
    loss = Failure(FailureKind.LOSS, "nan", rank=0, exit_code=4)
    assert end_of(attempt(1, RunStatus.FAILED, killed)) == "rank 1 SIGKILL"
    assert end_of(attempt(1, RunStatus.FAILED, node)) == "failed: node node-b"
    assert end_of(attempt(1, RunStatus.FAILED, loss)) == "rank 0 exit code 4"
    assert end_of(attempt(1, RunStatus.STOPPED)) == "stopped"
    assert end_of(attempt(1, RunStatus.RUNNING)) == "lost"  # a power cut wrote no end
    many = [attempt(number, RunStatus.STOPPED) for number in range(1, 21)]
    assert earlier_words(many, 30) == "(… · 20: stopped)"
    assert earlier_words(many, 5) == ""
    assert earlier_words([], 50) == ""
