"""The real client over run directories made by hand."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_run import MadeRun

from launcher import client
from launcher.core.profile.home import is_all_here
from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.events import (
    AttemptFailed,
    AttemptStarted,
    Failure,
    FailureKind,
    JobStarted,
    NodeLeftOut,
    RankStarted,
    TrainingStarted,
)
from launcher.core.run.requests import ResumeRequest, StartRequest
from launcher.reading.profiles import read_profile
from tui.drawing.glyphs import BLOCK
from tui.drawing.wording import activity, profile_lines, restart_words, worst
from tui.model.derived import failure_of, job_state, rank_state
from tui.model.run import ChartRequest, FrameRequest
from tui.once import picture
from tui.sources import live
from tui.sources.live import LiveSource
from tui.sources.replay import ReplayClock, ReplaySource
from tui.sources.source import SourceError
from tui.widgets.failure_card import memory_words

ASKED = FrameRequest((ChartRequest("step_time_ms", 40), ChartRequest("loss", 40, 0.6, True)), 50)


@pytest.fixture
def made(own_folders: Path) -> MadeRun:
    run = MadeRun(own_folders / "runs", "made-1", ranks=4, late=3, time_s=time.time() - 95)
    run.start()
    run.steps(95)
    return run


def test_live_source_of_a_live_run(made: MadeRun) -> None:
    run = LiveSource(read_only=True).open("made")
    frame = run.frame(ASKED)
    snapshot, (worst_rank, words) = frame.snapshot, worst(frame)
    assert (snapshot.status, snapshot.attempt, snapshot.position) == ("running", 1, (2, 5))
    assert [rank.phase for rank in snapshot.ranks] == ["compute"] * 4
    assert snapshot.ranks[2].memory_limit_bytes == 4 << 30
    late_ms = snapshot.ranks[3].lateness_ms or 0
    assert (worst_rank, late_ms) == (3, pytest.approx(240, abs=8))
    assert re.match(r"rank 3 on localhost is \d+ % late for \d+ s", words)
    assert [curve.label for curve in frame.charts[0].curves] == ["mean", "r0", "r1", "r2", "r3"]
    assert len(frame.charts[1].curves) == 1
    assert [label for _, label in frame.charts[0].marks] == ["eval", "eval", *["checkpoint"] * 2]
    assert len(frame.skew.bins) == 4
    steps = [saved.manifest.step for saved in frame.checkpoints if saved.manifest]
    assert steps == [90, 45]


def test_a_starting_run_shows_what_it_waits_for(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-2", ranks=2, time_s=time.time() - 2)
    made.attempt = 1
    made.event(AttemptStarted(1, 2, StartCheckpoint("/x.ckpt", 5, 50)))
    run = LiveSource(read_only=True).open("made-2")
    frame = run.frame(ASKED)
    assert frame.snapshot.status == "starting"
    assert activity(frame) == "0 of 2 ranks started; resumes from step 50 (5 epochs done)"
    made.paths.attempt(1).rank(0).root.mkdir(parents=True)
    made.event(RankStarted(1, 0, "localhost", 0, 0, made.pid, None))
    assert activity(run.frame(ASKED)).startswith("1 of 2 ranks started")


def test_a_run_on_fewer_nodes_says_so(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-3", ranks=2, time_s=time.time() - 2)
    made.attempt = 2
    made.event(AttemptStarted(1, 4))
    made.event(AttemptFailed(1, Failure(FailureKind.NODE, "beta is away", node="beta")))
    made.event(NodeLeftOut(1, "beta", "beta is away"))
    made.event(AttemptStarted(2, 2, logical_size=4))
    made.event(TrainingStarted(2, 3, 10))
    frame = LiveSource(read_only=True).open("made-3").frame(ASKED)
    assert activity(frame) == (
        "trains with 2 ranks instead of 4: the run continues without beta, which does not answer;"
        " r takes it back once the run is stopped"
    )


def test_a_job_whose_runner_has_died_is_lost_and_repaired_while_it_is_shown(
    made: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REPAIR_EVERY_S", 0.0)
    is_asked, is_repaired, count = threading.Event(), threading.Event(), [0]

    def repair() -> None:
        count[0] += 1
        is_asked.set()
        is_repaired.wait()

    made.event(JobStarted("001-eval", "eval", "localhost", ()))
    folder = made.paths.job("001-eval").root
    folder.mkdir(parents=True)
    runner = {"pid": os.getpid(), "start_ticks": 1, "created": time.time()}
    run = live.LiveRun(client.open_run("made"), repair=repair)
    (folder / "job.json").write_text(json.dumps({**runner, "host": "another"}))
    assert job_state(run.frame(ASKED).snapshot.state.jobs[0]) == "running"
    assert not is_asked.is_set()
    (folder / "job.json").write_text(json.dumps(runner))
    frame = run.frame(ASKED)
    assert job_state(frame.snapshot.state.jobs[0]) == "lost"
    assert activity(frame) == "eval 001: lost: nothing follows it any more"
    assert is_asked.wait(60)
    run.frame(ASKED)
    assert count == [1]  # not again, as long as that one has not ended
    is_repaired.set()


def test_curves_are_made_in_every_fourth_frame_at_4_hz(made: MadeRun) -> None:
    now = [time.time()]
    run = live.LiveRun(client.open_run("made"), lambda: now[0])
    first = run.frame(ASKED).charts[0]
    made.steps(1)
    now[0] += 0.25
    frame = run.frame(ASKED)
    assert frame.charts[0] is first
    # The table has the newest step in each frame, and another request is not kept waiting.
    assert frame.snapshot.ranks[0].steps_done == 96
    wider = replace(ASKED, charts=tuple(replace(item, columns=50) for item in ASKED.charts))
    assert run.frame(wider).charts[0].last == 95
    made.steps(1)
    for _ in range(3):
        now[0] += 0.25
        assert run.frame(wider).charts[0].last == 95
    now[0] += 0.25
    assert run.frame(wider).charts[0].last == 96


def test_an_unchanged_run_keeps_its_charts(made: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveSource(read_only=True).open("made")
    first, second = run.frame(ASKED), run.frame(ASKED)
    assert first.charts[0] is second.charts[0]
    assert first.skew is second.skew
    made.steps(1)
    monkeypatch.setattr(live, "CHARTS_EVERY_S", 0.0)
    assert run.frame(ASKED).charts[0].last == 95


def test_a_failure_comes_with_its_restart(made: MadeRun) -> None:
    made.fail(2)
    run = LiveSource(read_only=True).open("made")
    frame = run.frame(ASKED)
    snapshot = frame.snapshot
    assert (snapshot.status, failure_of(snapshot) is not None) == ("failed", True)
    states = [rank_state(rank, snapshot) for rank in snapshot.ranks]
    assert states == ["stopped", "stopped", "failed", "stopped"]
    assert worst(frame) == (None, "")
    choice = run.restart()
    assert (choice.step, choice.steps_lost, choice.verified) == (90, 5, True)
    text = picture(run)
    assert "rank 2 on localhost failed first" in text
    assert "$ effnet-launch resume made-1" in text


def test_a_corrupt_checkpoint_is_skipped_and_reported(made: MadeRun) -> None:
    (made.paths.checkpoint / "step-00000090.ckpt").write_bytes(b"x" * 1300)
    made.fail(1)
    choice = LiveSource(read_only=True).open("made").restart()
    assert choice.step == 45
    assert "skipped step-00000090.ckpt: " in restart_words(choice)


def test_a_resume_stopped_by_a_check_names_it_and_how_to_ignore_it(
    made: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = (client.Row("data", "localhost", client.RowState.FAILED, "/d: nothing", "Copy it."),)
    asked: list[object] = []

    class Stored:
        """A run that may be resumed; the refused preflight comes before its ``resume``."""

        def next_attempt(self, request: object, profile: object) -> SimpleNamespace:
            start = StartRequest(settings=(("epoch_size", "3"),), data_path="/d")
            profile = client.find_profile("local-cpu")
            return SimpleNamespace(run=SimpleNamespace(request=start, profile=profile))

        def check_may_resume(self) -> None: ...

    def preflight(profile: client.Profile, **given: object) -> tuple[client.Row, ...]:
        assert given.pop("nodes") is not None
        asked.append((profile.name, given))
        return red

    monkeypatch.setattr(client, "_handle", lambda run: asked.append(run) or Stored())
    monkeypatch.setattr(client, "preflight", preflight)
    with pytest.raises(SourceError) as refused:
        LiveSource().send("made-1", ResumeRequest())
    assert asked == [
        "made-1",
        (
            "local-cpu",
            {"settings": (("epoch_size", "3"),), "data_path": "/d"},
        ),
    ]
    assert str(refused.value).splitlines() == [
        "nothing was resumed: 1 check of the preflight failed",
        "data on localhost: /d: nothing",
        "    Copy it.",
        "To resume anyway: effnet-launch resume made-1 --ignore data",
    ]


def test_the_log_is_read_by_number_and_both_ways(made: MadeRun) -> None:
    log = LiveSource(read_only=True).open("made").log(1)
    assert log.refresh() == 96
    assert log.lines(0, 1)[0].startswith("start: rank:[1/4]")
    pattern = re.compile(r"step:\[ +7/")
    assert [at for at, _ in log.matches(pattern, 0, 1, 9)] == [8, 53]
    assert [at for at, _ in log.matches(pattern, 95, -1, 9)] == [53, 8]
    assert [at for at, _ in log.matches(pattern, 9, 1, 1)] == [53]
    assert len(log.tail(5)) == 5


def test_a_missing_run_is_named() -> None:
    with pytest.raises(SourceError, match="nothing"):
        LiveSource(read_only=True).open("nothing")


def test_home_lists_shipped_profiles(made: MadeRun) -> None:
    home = LiveSource().home()
    assert [run.run for run in home.runs] == ["made-1"]
    profile = next(entry for entry in home.profiles if entry.name == "local-cpu")
    assert any("rank 1" in line for line in profile_lines(profile))


def test_the_picture_of_a_profile_says_whose_nodes_they_are(own_folders: Path) -> None:
    head = 'device_target = "CPU"\nstart_method = "slurm"\nnode_defaults = { slots = 2 }\n'
    path = own_folders / "far.toml"
    path.write_text(f'{head}[slurm]\nnodes = 1\nlogin_node = {{ address = "login.example.org" }}\n')
    entry = read_profile(path, own=True)
    assert profile_lines(entry)[:2] == [
        "slurm on CPU, submitted on login.example.org",
        "┌ slurm-node-1  chosen by Slurm",
    ]
    assert entry.profile is not None
    assert not is_all_here(entry.profile)


def test_a_plan_has_files_commands_and_its_command_line(own_folders: Path) -> None:
    plan = LiveSource().plan("local-cpu", StartRequest((("epoch_size", "3"),), "/data/x y"))
    titles = [title for title, _ in plan]
    assert any(title.startswith("rank 1 on") for title in titles)
    assert not (own_folders / "runs").exists()


def test_a_replay_goes_forward_and_back(made: MadeRun) -> None:
    made.fail(2)
    source = ReplaySource(1.0)
    run = source.open("made")
    run.clock.playing = False
    states = []
    for seconds in (50.0, 30.0, 100.0, -60.0):
        run.clock.seek(seconds)
        snapshot = run.frame(ASKED).snapshot
        states.append((snapshot.status, snapshot.steps_done, run.log(0).refresh()))
    assert states[0][:2] == ("running", 50)
    assert states[1][:2] == ("running", 80)
    assert states[2][:2] == ("failed", 95)
    assert states[3][0] == "running"
    assert states[3][2] < states[2][2]
    assert run.restart().path is None
    source.close()


def test_a_key_pressed_while_the_time_of_a_replay_is_read_is_not_lost() -> None:
    key = threading.Thread(target=lambda: clock.seek(50.0))

    class Speed(float):
        """It is multiplied between the old time and the new one."""

        def __rmul__(self, passed_s: float) -> float:
            if threading.current_thread() is not key:
                key.start()
                key.join(0.2)
            return 0.0

    clock = ReplayClock(100.0, 200.0, Speed(1), lambda: 0.0)
    clock.now()
    key.join()
    clock.speed = 1.0
    assert clock.now() == 150.0


def test_a_closed_replay_stops_writing_its_copy(made: MadeRun) -> None:
    source = ReplaySource(1.0)
    run = source.open("made")
    run.clock.playing = False
    source.close()
    run.clock.seek(50)
    run._grow(run.clock.now())  # a poll that was under way
    assert not source._copies.path.exists()


def test_a_search_in_a_huge_log_does_not_block_the_screen(
    made: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.logs import live_log
    from tui.logs.log_window import LogWindow

    monkeypatch.setattr(live_log, "UPWARD_LIMIT", 40)
    monkeypatch.setattr(live_log, "CHUNK_LINES", 10)
    window = LogWindow(LiveSource(read_only=True).open("made").log(0), "log")
    window.frame()
    window.search("^start:")
    notes = [window.frame().note]
    while window.frame().match is None and len(notes) < 9:
        window.again(-1)
        notes.append(window.frame().note)
    assert window.frame().match == 0
    assert "the same key continues" in notes[0]


def test_no_step_is_a_fault_only_beyond_the_limit_of_the_run_itself(own_folders: Path) -> None:
    found = []
    for name, limit_s in (("patient", 300.0), ("strict", 20.0)):
        run = MadeRun(own_folders / "runs", name, time_s=time.time() - 125)
        profile = json.loads(run.paths.profile.read_text())
        profile["limits"]["silent_min_s"] = limit_s
        run.paths.profile.write_text(json.dumps(profile))
        run.start()
        run.steps(30)  # the newest is 95 s old
        for rank in range(run.ranks):  # its samples would be the clock
            run.paths.attempt(1).rank(rank).device.unlink()
        frame = LiveSource(read_only=True).open(name).frame(FrameRequest())
        found.append(worst(frame)[1])
    assert found[0] == ""
    assert found[1].startswith("no step for ")


def test_a_rank_reports_its_own_images_per_second_and_the_run_those_of_all(made: MadeRun) -> None:
    snapshot = LiveSource(read_only=True).open("made-1").frame(FrameRequest()).snapshot
    assert snapshot.images_per_s == pytest.approx(34.0)
    assert [rank.images_per_s for rank in snapshot.ranks] == [pytest.approx(34.0 / 4)] * 4


def test_a_killed_rank_comes_with_its_memory_over_the_last_minute(made: MadeRun) -> None:
    made.steps(80)
    made.fail(1)
    run = LiveSource(read_only=True).open("made-1")
    memory = run.frame(FrameRequest()).memory
    assert memory[-1].time_s - memory[0].time_s == pytest.approx(59, abs=1.5)
    assert {sample.limit_bytes for sample in memory} == {4 << 30}
    words = memory_words(memory, BLOCK.rises)
    assert re.fullmatch(r"memory in its last \d+ s: 1.2 GiB [▁▂▃▄]+ 1.2 GiB of 4.0 GiB", words)
