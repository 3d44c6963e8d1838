"""Runs: polled, incremental, and equal to a fresh read at any time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import client
from launcher.core.run import events as e
from launcher.core.run import metrics
from launcher.core.run.events import Event, to_json
from launcher.core.run.heartbeat import Phase
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import RankPaths, RunPaths
from launcher.core.run.report_types import StepReport
from launcher.core.run.state import RunStatus
from launcher.errors import ProfileError, RunNotFoundError, UsageError
from launcher.reading.snapshot import RankStatus

NOW = 1_000_000.0


class MadeRun:
    """A run directory that a test fills."""

    def __init__(self, root: Path, world_size: int = 2) -> None:
        self.paths = RunPaths(root)
        self.world_size = world_size
        self.events = 0
        root.mkdir(parents=True)
        info = RunInfo(root.name, "local-cpu", NOW - 100, world_size, {"python": "3"}, ("x",))
        self.paths.run.write_text(info.to_json())
        self.add(e.RunCreated(root.name, "local-cpu", world_size), NOW - 100)

    def add(self, event: Event, time_s: float = NOW) -> None:
        self.events += 1
        numbered = dataclasses.replace(event, n=self.events, t=time_s)
        with self.paths.events.open("a") as file:
            file.write(to_json(numbered) + "\n")

    def start(self, attempt: int = 1, resume: e.StartCheckpoint | None = None) -> None:
        self.add(e.AttemptStarted(attempt, self.world_size, resume), NOW - 90)
        for rank in range(self.world_size):
            self.rank(rank, attempt).root.mkdir(parents=True)
            self.add(e.RankStarted(attempt, rank, "localhost", rank, rank, os.getpid()), NOW - 89)
        self.add(e.TrainingStarted(attempt, 20, 45), NOW - 80)

    def rank(self, rank: int, attempt: int = 1) -> RankPaths:
        return self.paths.attempt(attempt).rank(rank)

    def report(self, rank: int, step: int, attempt: int = 1, **values: float) -> None:
        known = {"step_time_ms": 1000.0, "wait_ms": 100.0, "images_per_s": 32.0, **values}
        known.setdefault("loss", 3.0 - step / 1000)
        report = StepReport(step // 45, step % 45, 20, 45, **known)  # type: ignore[arg-type]
        with self.rank(rank, attempt).metrics.open("ab") as file:
            file.write(metrics.pack(report, NOW - 80 + step))

    def beat(self, rank: int, phase: str, steps: int, time_s: float) -> None:
        line = f"1 {time_s} {phase} {steps} {steps // 45} 42".encode().ljust(127) + b"\n"
        self.rank(rank).heartbeat.write_bytes(line)


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    return MadeRun(tmp_path / "runs" / "local-cpu-20260101-000000-abcd")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path / "profiles"))
    return tmp_path / "runs"


def test_a_new_run(run: MadeRun) -> None:
    snapshot = client.open_run(run.paths.root).poll(NOW - 99)
    assert snapshot.status is RunStatus.CREATED
    assert (snapshot.world_size, snapshot.ranks, snapshot.attempt) == (2, (), None)


def test_unknown_values_are_none_not_zero(run: MadeRun) -> None:
    run.start()
    snapshot = client.open_run(run.paths.root).poll(NOW)
    rank = snapshot.ranks[0]
    for name in ("epoch", "step", "loss", "step_time_ms", "images_per_s", "memory_bytes", "phase"):
        assert getattr(rank, name) is None
    assert (snapshot.steps_done, snapshot.eta_s, snapshot.age_s) == (None, None, None)
    assert (snapshot.epochs, snapshot.steps_per_epoch, snapshot.steps_total) == (20, 45, 900)
    assert rank.status is RankStatus.RUNNING


def test_progress_throughput_and_lateness(run: MadeRun) -> None:
    run.start()
    for step in range(60):
        run.report(0, step, wait_ms=300.0)
        run.report(1, step, wait_ms=100.0)
    run.beat(1, "reduce", 60, NOW - 15)
    snapshot = client.open_run(run.paths.root).poll(NOW - 15)
    assert snapshot.status is RunStatus.RUNNING
    assert (snapshot.epoch, snapshot.step, snapshot.steps_done) == (1, 15, 60)
    assert snapshot.progress == pytest.approx(60 / 900)
    assert snapshot.eta_s == pytest.approx(840.0)
    assert snapshot.images_per_s == 32.0
    assert [rank.lateness_ms for rank in snapshot.ranks] == [0.0, 200.0]
    assert snapshot.ranks[1].phase is Phase.REDUCE
    assert snapshot.ranks[0].step == 14


def test_the_eta_has_evaluations_and_no_stall_and_no_compilation(run: MadeRun) -> None:
    run.start()
    for step in range(135):
        run.report(0, step, step_time_ms={0: 60_000.0, 70: 242_000.0}.get(step, 100.0))
    for epoch in (1, 2, 3):  # 4.5 s of steps and 5.5 s of evaluation; one stalled
        run.add(e.EpochFinished(1, epoch, 1.0), NOW + 10 * epoch + (242 if epoch == 3 else 0))
    assert client.open_run(run.paths.root).poll(NOW + 60).eta_s == pytest.approx(17 * 10.0)


@pytest.mark.parametrize("end", ["failed", "stopped", "lost"])
def test_no_rank_runs_once_its_run_is_over(run: MadeRun, end: str) -> None:
    run.start()
    run.add(e.RankExited(1, 1, "localhost", signal=9))
    failure = e.Failure(e.FailureKind.NODE, "no answer", rank=1, node="localhost")
    if end == "failed":
        run.add(e.AttemptFailed(1, failure))
    elif end == "stopped":
        run.add(e.StopRequested("me"))
        run.add(e.AttemptStopped(1, 10))
    reader = client.open_run(run.paths.root)
    reader.status = lambda now_s=None: client.RunStatus(end)  # type: ignore[method-assign]
    assert reader.poll(NOW + 60).ranks[0].status is RankStatus.STOPPED


def test_memory_of_an_ended_rank_is_its_last_real_one(run: MadeRun) -> None:
    run.start()
    with run.rank(0).device.open("ab") as file:
        for used in (3 << 28, 1 << 30, 0):
            file.write(metrics.pack_device(metrics.DeviceRecord(NOW - 1, used, 4 << 30, None)))
    reader = client.open_run(run.paths.root)
    assert reader.poll(NOW).ranks[0].memory_bytes == 1 << 30
    run.report(0, 1, memory_bytes=3 << 29)
    run.add(e.RankExited(1, 0, "localhost", exit_code=1))
    assert reader.poll(NOW).ranks[0].memory_bytes == 3 << 29


def test_polling_is_incremental_and_equals_a_fresh_read(run: MadeRun) -> None:
    run.start()
    reader = client.open_run(run.paths.root)
    for step in range(400):
        run.report(0, step)
        if step % 50 == 7:
            with run.rank(0).metrics.open("ab") as file:
                whole = file.tell()
                file.write(b"half a record")
            reader.poll(NOW)
            os.truncate(run.rank(0).metrics, whole)
        if step % 30 == 0:
            first = reader.series(0, "loss")
            assert reader.series(0, "loss") is first
            assert list(first.steps) == list(range(step + 1))
    fresh = client.open_run(run.paths.root)
    assert reader.poll(NOW).ranks[0] == fresh.poll(NOW).ranks[0]
    assert reader.series(0, "loss") == fresh.series(0, "loss")
    assert reader.series(0, "busy_ms").values[-1] == pytest.approx(900.0)


def test_events_that_are_written_in_pieces(run: MadeRun) -> None:
    reader = client.open_run(run.paths.root)
    run.start()
    whole = run.paths.events.read_bytes()
    run.paths.events.write_bytes(b"")
    for byte in range(0, len(whole), 7):
        with run.paths.events.open("ab") as file:
            file.write(whole[byte : byte + 7])
        reader.poll_state()
    assert reader.state == client.open_run(run.paths.root).poll_state()
    assert reader.state.skipped == 0
    with run.paths.events.open("ab") as file:
        file.write(b'garbage\n{"n": 99, "t": 1, "kind": "from the future"}\n')
    assert reader.poll_state().skipped == 2


def test_a_resumed_run_has_one_curve(run: MadeRun) -> None:
    run.start()
    for step in range(100):
        run.report(0, step, loss=1.0)
    run.add(e.RankExited(1, 1, "localhost", None, 9))
    failure = e.Failure(e.FailureKind.SIGNAL, "killed", rank=1, signal=9)
    run.add(e.AttemptFailed(1, failure))
    reader = client.open_run(run.paths.root)
    failed = reader.poll(NOW)
    assert failed.status is RunStatus.FAILED
    assert failed.failure == failure
    assert failed.ranks[1].status is RankStatus.FAILED
    assert failed.ranks[1].is_first_failure
    run.start(2, e.StartCheckpoint("/c", 2, 90))
    resumed = reader.poll(NOW)
    assert (resumed.attempt, resumed.steps_done, resumed.epoch) == (2, 90, 2)
    for step in range(90, 120):
        run.report(0, step, attempt=2, loss=2.0)
    series = reader.series(0, "loss")
    assert list(series.steps) == list(range(120))
    assert list(series.values) == [1.0] * 90 + [2.0] * 30
    assert len(series.times_s) == 120
    assert list(reader.series(0, "loss", attempt=1).steps) == list(range(100))
    assert reader.poll(NOW).steps_done == 120


def test_a_run_without_processes_is_lost(run: MadeRun) -> None:
    run.start()
    reader = client.open_run(run.paths.root)
    assert reader.poll(NOW).status is RunStatus.RUNNING  # this very process plays the ranks
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lines = run.paths.events.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}')
    run.paths.events.write_text(lines)
    later = client.open_run(run.paths.root)
    assert later.poll(NOW).status is RunStatus.LOST
    run.paths.supervisor.write_text(json.dumps({"pid": os.getpid()}))
    supervised = client.open_run(run.paths.root).poll(NOW)
    assert (supervised.status, supervised.is_supervised) == (RunStatus.RUNNING, True)
    run.paths.supervisor.write_text(json.dumps({"pid": os.getpid(), "start_time": 5.0}))
    assert client.open_run(run.paths.root).poll(NOW).status is RunStatus.LOST


def test_runs_are_found_by_id_prefix_path_and_age(run: MadeRun, runs: Path) -> None:
    other = MadeRun(runs / "local-cpu-20260101-000001-ffff")
    other.paths.run.write_text(RunInfo(other.paths.root.name, "p", NOW + 5, 2).to_json())
    other.paths.events.unlink()
    assert client.open_run("latest").paths.root == other.paths.root
    assert client.open_run(run.paths.root.name).paths.root == run.paths.root
    assert client.open_run("local-cpu-20260101-000000").paths.root == run.paths.root
    assert client.open_run(str(run.paths.root)).run == run.paths.root.name
    with pytest.raises(RunNotFoundError, match="ids of 2 runs start"):
        client.open_run("local-cpu")
    with pytest.raises(RunNotFoundError, match="no run's id starts"):
        client.open_run("x")
    with pytest.raises(RunNotFoundError, match="is not a run directory"):
        client.open_run(runs)
    name = other.paths.root.name
    with pytest.raises(RunNotFoundError, match=f"did you mean '{name}'"):
        client.open_run(name.replace("cpu", "cup"))
    with pytest.raises(RunNotFoundError, match=f"did you mean '{name}'"):
        client.open_run(name.replace("cpu", "cp"))
    with pytest.raises(RunNotFoundError, match="starts with 'loacl'; did you mean 'local'"):
        client.open_run("loacl")
    with pytest.raises(RunNotFoundError, match=f"is not a run directory; did you mean '{name}'"):
        client.open_run(runs / name[:-1])
    names = [summary.run for summary in client.list_runs()]
    assert set(names) == {run.paths.root.name, other.paths.root.name}


def test_the_list_has_live_runs_first_and_updates_them(run: MadeRun, runs: Path) -> None:
    newer = MadeRun(runs / "newer")
    newer.start()
    newer.add(e.AttemptFinished(1, 900))
    run.start()
    listing = client.RunList()
    first, second = listing.poll(NOW)
    assert (first.run, first.is_living) == (run.paths.root.name, True)
    assert (second.run, second.status) == ("newer", RunStatus.FINISHED)
    assert listing.poll(NOW)[1] is second
    run.report(0, 9)
    assert listing.poll(NOW)[0].steps_done == 10


def test_folders_that_are_not_runs_are_skipped(runs: Path) -> None:
    (runs / "nothing").mkdir(parents=True)
    (runs / "file").write_text("x")
    assert client.list_runs() == []
    with pytest.raises(RunNotFoundError, match="no runs yet"):
        client.open_run("latest")


def test_damaged_files_never_raise(run: MadeRun) -> None:
    run.start()
    run.paths.run.write_bytes(b"\xff{")
    run.rank(0).heartbeat.write_bytes(b"x" * 128)
    run.rank(0).metrics.write_bytes(os.urandom(64 * 20 + 3))
    run.rank(0).device.write_bytes(os.urandom(33))
    run.rank(0).load.write_bytes(os.urandom(70))
    run.rank(1).metrics.mkdir()
    reader = client.open_run(run.paths.root)
    reader.poll(NOW)
    for field in client.SERIES_FIELDS:
        reader.series(0, field)
        reader.series(1, field)


def test_usage_errors(run: MadeRun) -> None:
    reader = client.open_run(run.paths.root)
    with pytest.raises(UsageError, match="no field"):
        reader.series(0, "beauty")
    with pytest.raises(UsageError, match="attempts count from 1"):
        reader.log(0, 0)
    with pytest.raises(UsageError, match="no job"):
        reader.job_log("x")


def test_own_profiles_are_first_and_broken_ones_have_errors(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    shipped = (Path(__file__).parents[3] / "cluster_profiles/local-cpu.toml").read_text()
    (folder / "local-cpu.toml").write_text(shipped.replace("slots = 2", "slots = 3"))
    (folder / "broken.toml").write_text("slots = 2\n")
    entries = {(entry.name, entry.own): entry for entry in client.list_profiles()}
    assert entries["local-cpu", False].is_hidden
    assert client.find_profile("local-cpu").world_size == 3
    assert entries["broken", True].profile is None
    with pytest.raises(ProfileError) as caught:
        client.find_profile("broken")
    assert any("did you mean" in line or "needed" in line for line in caught.value.problems)
    with pytest.raises(ProfileError, match="no profile 'nothing'"):
        client.find_profile("nothing")
    assert client.find_profile(folder / "local-cpu.toml").world_size == 3


def test_profiles_that_this_machine_can_run_come_first(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shipped() -> list[str]:
        return [entry.name for entry in client.list_profiles() if not entry.own]

    monkeypatch.setenv("PATH", str(tmp_path))
    assert shipped()[:3] == ["local-cpu", "local-cpu-8p", "cpu-2-nodes-ssh"]
    (tmp_path / "npu-smi").touch(mode=0o755)
    assert shipped()[:3] == ["ascend-1x8", "local-cpu", "local-cpu-8p"]


def test_checkpoints_are_listed_newest_first(run: MadeRun) -> None:
    folder = run.paths.checkpoint
    folder.mkdir()
    for step in (45, 900, 90):
        file = folder / f"step-{step:08d}.ckpt"
        file.write_bytes(b"x" * 10)
        manifest = {"sha256": "ab", "bytes": 10, "epoch": step // 45, "step": step}
        Path(f"{file}.manifest.json").write_text(json.dumps(manifest))
    (folder / "step-00000950.ckpt").write_bytes(b"half")
    found = client.checkpoints(run.paths.root)
    assert [Path(facts.path).name for facts in found] == [
        "step-00000950.ckpt",
        "step-00000900.ckpt",
        "step-00000090.ckpt",
        "step-00000045.ckpt",
    ]


def test_command_lines() -> None:
    assert client.StopRequest(save=False).command("r") == [
        "effnet-launch",
        "stop",
        "r",
        "--no-save",
    ]
    assert client.StopRequest().command("r") == ["effnet-launch", "stop", "r"]
    assert client.StartRequest(settings=(("a", "1"), ("b", "x y")), name="").command("p") == [
        *("effnet-launch", "start", "p"),
        *("--set", "a=1", "--set", "b=x y"),
    ]


def test_command_lines_are_those_of_effnet_launch() -> None:
    import typer

    from launcher.cli.app import app
    from launcher.core.run.requests import KINDS, options_of

    commands = typer.main.get_command(app).commands
    actions = [client.StartRequest(), client.ResumeRequest(), client.StopRequest()]
    actions += [client.StopJobRequest()] + [client.JobRequest(kind) for kind in KINDS]
    for request in actions:
        known = {word for item in commands[request.action].params for word in item.opts}
        options = dict(options_of(type(request), getattr(request, "kind", "")))
        assert options
        assert {option.flag for option in options.values()} <= known, request


def test_a_client_that_only_reads_loads_neither_processes_nor_ssh() -> None:
    code = (
        "import sys, launcher.client;"
        "bad = [m for m in ('asyncio', 'paramiko', 'textual', 'mindspore', 'numpy',"
        " 'launcher.runs.start', 'effnet') if m in sys.modules];"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
