"""The list of runs, and the summaries that it keeps of those that are over."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import client
from launcher.core.run import events as e
from launcher.core.run.info import RunInfo
from launcher.core.run.requests import StartRequest
from launcher.core.run.state import RunStatus
from launcher.reading import runs as listing
from launcher.reading.run import RunReader
from tests.launcher.reading.test_run import NOW, MadeRun


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs that are over in each way, one that is lost, and one that lives."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runs = tmp_path / "runs"
    for name, end in (
        ("finished", e.AttemptFinished(1, 90)),
        ("failed", e.AttemptFailed(1, e.Failure(e.FailureKind.OOM, "out of memory", rank=1))),
        ("stopped", e.AttemptStopped(1, 9)),
        ("living", None),
    ):
        run = MadeRun(runs / name)
        run.start()
        run.report(0, 9)
        run.add(e.EvalFinished(1, None, 1, 45, 1.0, 0.75, 0.9, 360, "ema"), NOW)
        if end is not None:
            run.add(end, NOW)
        run.paths.profile.write_text('{"name": "x", "trainer": {"lr_max": 0.2}}')
    return runs


def cache_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").rglob("runs-*.json")
    return found


def over(runs: list[client.RunSummary]) -> list[client.RunSummary]:
    """Those that do not get older."""
    return [run for run in runs if run.status.is_over]


class Count:
    """How many runs are read from their own files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []

        def reader(root: Path) -> RunReader:
            self.read.append(root.name)
            return RunReader(root)

        monkeypatch.setattr(listing, "RunReader", reader)

    def of(self, folder: Path) -> list[str]:
        self.read = []
        client.list_runs(folder)
        return sorted(self.read)


def test_the_next_program_reads_only_runs_that_are_not_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = MadeRun(folder / "lost")
    lost.add(e.AttemptStarted(1, 2), NOW)
    first = client.list_runs(folder)
    count = Count(monkeypatch)
    assert over(client.list_runs(folder)) == over(first)
    assert count.of(folder) == ["living", "lost"]
    assert {run.run: run.status.value for run in first} == {
        name: {"living": "running"}.get(name, name)
        for name in ("finished", "failed", "stopped", "living", "lost")
    }
    failed = next(run for run in first if run.run == "failed")
    assert (failed.best_top_1, failed.cause) == (0.75, "rank 1: out of memory")
    assert failed.config["lr_max"] == 0.2


def _append(root: Path) -> None:
    event = e.EvalFinished(None, "001-eval", 2, 90, 1.0, 0.875, 0.9, 360, "ema", n=99, t=NOW)
    with (root / "events.jsonl").open("a") as file:
        file.write(e.to_json(event) + "\n")


def _note(root: Path) -> None:
    info = RunInfo(root.name, "local-cpu", NOW - 100, 2, start=StartRequest(note="new"))
    (root / "new.json").write_text(info.to_json())
    (root / "new.json").replace(root / "run.json")


def _rewrite(root: Path) -> None:
    """As many bytes, and the old time of change."""
    path = root / "events.jsonl"
    status, text = path.stat(), path.read_text()
    path.write_text(text.replace("0.75", "0.25"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy(root: Path) -> None:
    """The same files at another place, moved back."""
    shutil.copytree(root, root.with_name(".copy"))
    shutil.rmtree(root)
    root.with_name(".copy").rename(root)


@pytest.mark.parametrize("change", [_append, _note, _rewrite, _copy])
def test_a_changed_run_is_read_again(
    folder: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.list_runs(folder)
    kept = client.RunList(folder)
    kept.poll()
    change(folder / "finished")
    fresh = _fresh(folder, monkeypatch)
    assert Count(monkeypatch).of(folder) == ["finished", "living"]
    assert [run for run in kept.poll() if run.run == "finished"] == fresh
    assert [run for run in client.list_runs(folder) if run.run == "finished"] == fresh
    assert Count(monkeypatch).of(folder) == ["living"]


def _fresh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[client.RunSummary]:
    with monkeypatch.context() as other:
        other.setenv("XDG_CACHE_HOME", str(folder.parent / "other"))
        return [run for run in client.list_runs(folder) if run.run == "finished"]


def test_removed_and_new_runs(folder: Path) -> None:
    kept = client.RunList(folder)
    kept.poll()
    shutil.rmtree(folder / "finished")
    shutil.rmtree(folder / "living")
    MadeRun(folder / "newer").add(e.AttemptStarted(1, 2), time.time())
    names = {run.run for run in kept.poll()}
    assert names == {"failed", "stopped", "newer"} == {run.run for run in client.list_runs(folder)}


def test_a_damaged_cache_is_as_if_there_was_none(folder: Path, tmp_path: Path) -> None:
    first = over(client.list_runs(folder))
    path = cache_file(tmp_path)
    whole = path.read_bytes()
    damaged = [whole[:at] for at in range(0, len(whole), max(len(whole) // 9, 1))]
    damaged += [b"", b"\n\n", whole + b"x", whole.replace(b"stopped", b"running")]
    damaged += [whole.replace(b"runs 1", b"runs 0"), os.urandom(200)]
    for at in range(7, len(whole), 211):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for data in damaged:
        path.write_bytes(data)
        assert over(client.list_runs(folder)) == first
        assert path.read_bytes() == whole


def test_a_cache_that_others_can_write_or_own_is_not_believed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.list_runs(folder)
    path = cache_file(tmp_path)
    count = Count(monkeypatch)
    assert count.of(folder) == ["living"]
    for mode in (0o620, 0o602):
        path.chmod(mode)
        assert len(count.of(folder)) == 4
        assert path.stat().st_mode & 0o777 == 0o600
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert len(count.of(folder)) == 4
    path.unlink()
    client.list_runs(folder)
    assert not path.exists()  # nothing is kept of files of another user


def test_without_a_place_for_the_cache_the_list_is_complete(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(client.list_runs(folder)) == 4


def test_a_temporary_folder_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    runs = client.RunList(folder, temporary=True)
    assert [run.run for run in runs.poll()] == [run.run for run in runs.poll()]
    assert not (tmp_path / "cache").exists()


def test_a_run_that_has_just_ended_is_not_kept_yet(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = MadeRun(folder / "ended")
    ended.start()
    ended.add(e.AttemptFinished(1, 90), time.time())
    client.list_runs(folder)
    assert Count(monkeypatch).of(folder) == ["ended", "living"]


def test_within_a_limit_the_newest_are_read_first(tmp_path: Path) -> None:
    for at in range(5):
        run = MadeRun(tmp_path / "runs" / f"run-{4 - at}")
        run.add(e.AttemptStarted(1, 2), NOW)
        os.utime(run.paths.events, (NOW + at, NOW + at))
    runs = client.RunList(tmp_path / "runs")
    seen = []
    for left in (4, 3, 2, 1, 0):
        found = runs.poll(limit_s=0)
        assert runs.unread == left
        seen.append({run.run for run in found} - {name for one in seen for name in one})
    assert seen == [{f"run-{at}"} for at in range(5)]
    assert all(run.status is RunStatus.LOST for run in runs.poll())


def test_equal_configurations_are_kept_once(folder: Path, tmp_path: Path) -> None:
    client.list_runs(folder)
    body = json.loads(cache_file(tmp_path).read_bytes().split(b"\n", 2)[2])
    assert len(body["configs"]) == 1
    found = [run for run in client.list_runs(folder) if run.status.is_over]
    assert len({id(run.config) for run in found}) == 1
