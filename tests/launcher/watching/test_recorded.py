"""Jobs that are over, from the folders that their launchers left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.core.run.events import FailureKind
from launcher.errors import UsageError
from launcher.reading.snapshot import RankStatus
from launcher.watching.watch import WatchedRun, watch

Recorded = Callable[[str], Path]
Watched = Callable[..., WatchedRun]


@pytest.mark.parametrize(
    ("name", "launcher", "steps", "loss"),
    [("msrun", "msrun", 15, 0.102), ("mpirun", "mpirun", 4, 0.4)],
)
def test_a_job_that_finished(
    recorded: Recorded, watched: Watched, name: str, launcher: str, steps: int, loss: float
) -> None:
    snapshot = watched(recorded(name)).poll()
    assert snapshot.status == "finished"
    assert snapshot.profile == launcher
    assert snapshot.steps_done == steps
    assert snapshot.loss == pytest.approx(loss, abs=1e-3)
    assert [rank.status for rank in snapshot.ranks] == [RankStatus.ENDED] * 2
    assert [rank.steps_done for rank in snapshot.ranks] == [steps] * 2
    assert snapshot.is_watched


def test_time_monitor_gives_steps_of_an_epoch_and_step_time(
    recorded: Recorded, watched: Watched
) -> None:
    job = watched(recorded("msrun"))
    snapshot = job.poll()
    assert (snapshot.epochs, snapshot.steps_per_epoch, snapshot.progress) == (3, 5, 1.0)
    assert [rank.step_time_ms is not None for rank in snapshot.ranks] == [True, True]
    series = job.series(0, "loss")
    assert list(series.steps) == list(range(15))
    assert list(series.times_s) == sorted(series.times_s)
    assert "cluster_context.cc" in job.scheduler_log().tail(50).lines[0].text


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("msrun_death", FailureKind.CRASH, "it raised RuntimeError: sample 17 is damaged"),
        ("mpirun_death", FailureKind.OOM, "it ran out of memory"),
        ("torchrun_death", FailureKind.CRASH, "it raised RuntimeError: bad sample 17"),
    ],
)
def test_the_card_names_the_rank_that_died_first(
    recorded: Recorded, watched: Watched, name: str, kind: FailureKind, words: str
) -> None:
    folder = recorded(name)
    snapshot = watched(folder).poll()
    failure = snapshot.failure
    assert snapshot.status == "failed"
    assert failure is not None
    assert (failure.rank, failure.kind, failure.followers) == (1, kind, (0,))
    assert snapshot.cause.endswith(words)
    assert str(failure.log).startswith(str(folder))
    assert [rank.status for rank in snapshot.ranks] == [RankStatus.STOPPED, RankStatus.FAILED]


def test_nothing_in_the_folder_changes(recorded: Recorded, watched: Watched) -> None:
    folder = recorded("torchrun_death")

    def marks() -> list[tuple[str, int, float]]:
        found = [(str(path), path.stat()) for path in sorted(folder.rglob("*"))]
        return [(name, status.st_size, status.st_mtime) for name, status in found]

    before = marks()
    job = watched(folder)
    root = job.paths.root
    assert root.is_dir()
    assert marks() == before
    job.close()
    assert not root.exists()


def test_a_rank_that_was_killed_says_nothing_and_its_peers_lost_it(
    recorded: Recorded, watched: Watched
) -> None:
    folder = recorded("msrun_death")
    log = folder / "worker_1.log"
    text = log.read_text()
    log.write_text(text[: text.index("Traceback")])
    at = time.time() - 3600
    os.utime(log, (at, at))
    snapshot = watched(folder).poll()
    assert snapshot.failure is not None
    assert snapshot.failure.rank == 1
    assert snapshot.failure.followers == (0,)


def test_each_restart_of_torchrun_is_an_attempt(recorded: Recorded, watched: Watched) -> None:
    folder = recorded("torchrun_death")
    first = next(folder.rglob("attempt_0"))
    second = first.with_name("attempt_1")
    for rank in ("0", "1"):
        (second / rank).mkdir(parents=True)
        for name in ("stdout.log", "stderr.log"):
            (second / rank / name).touch()
        lines = [f"epoch: 1 step: {step}, loss is 0.5\n" for step in range(1, 9)]
        (second / rank / "stdout.log").write_text("".join(lines))
    at = time.time() - 1800
    for path in second.rglob("*"):
        os.utime(path, (at, at))
    job = watched(folder)
    snapshot = job.poll()
    assert (snapshot.status, snapshot.attempt, snapshot.steps_done) == ("finished", 2, 8)
    earlier = job.poll(attempt=1)
    assert earlier.attempt_status == "failed"
    assert earlier.shown is not None
    assert earlier.shown.failure is not None
    assert earlier.shown.failure.rank == 1


def test_a_pattern_for_files_and_one_for_lines(tmp_path: Path, watched: Watched) -> None:
    for rank in range(2):
        lines = [f"[{step}/4] loss={1 / step:.3f}\n" for step in range(1, 5)]
        path = tmp_path / f"rank{rank}.txt"
        path.write_text("".join(lines))
        os.utime(path, (1e9, 1e9))
    job = watched(
        tmp_path / "rank*.txt",
        pattern=r"\[(?P<step>\d+)/(?P<steps_per_epoch>\d+)\] loss=(?P<loss>\S+)",
    )
    snapshot = job.poll()
    assert (snapshot.steps_done, snapshot.loss, snapshot.world_size) == (4, 0.25, 2)
    assert snapshot.profile == "files"


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("nothing", {}, "there is no .*nothing"),
        ("empty", {}, "no logs of ranks in .*empty\nLooked for: worker_N.log"),
        ("empty/*.log", {}, "no file matches"),
        ("run", {}, "is a run of this launcher\nOpen it with: effnet-tui"),
        ("empty", {"pattern": "("}, "--pattern: not a regular expression"),
    ],
)
def test_what_cannot_be_watched_says_what_to_do(
    tmp_path: Path, target: str, options: dict[str, str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").touch()
    with pytest.raises(UsageError) as raised:
        watch(str(tmp_path / target), **options)  # type: ignore[arg-type]
    assert re.search(words, str(raised.value))


def test_the_command_prints_the_failure(recorded: Recorded) -> None:
    from typer.testing import CliRunner

    from launcher.cli.app import app

    result = CliRunner().invoke(app, ["watch", str(recorded("mpirun_death")), "--once"])
    assert result.exit_code == 0
    assert "rank 1" in result.output
    assert "ran out of memory" in result.output
    assert "effnet-launch resume" not in result.output
    followed = CliRunner().invoke(app, ["watch", str(recorded("mpirun"))])
    assert followed.exit_code == 0
    assert "finished" in followed.output
