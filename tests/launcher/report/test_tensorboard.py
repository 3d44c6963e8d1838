"""`tensorboard`: what TensorBoard's own reader finds in the exported files."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app
from launcher.core.run import events as e
from launcher.core.run import metrics
from launcher.errors import LaunchError
from launcher.report import event_file, tensorboard
from tests.launcher.reading.test_run import NOW, MadeRun

Scalars = dict[str, list[tuple[int, float]]]
DEVICE_TAGS = (*tensorboard.REPORTS, "device_use_percent", "power_w", "io_wait_percent")


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    run = MadeRun(tmp_path / "a run", world_size=2)
    run.start()
    return run


def export(run: MadeRun, folder: Path, *arguments: object) -> Path:
    """-> the run's folder in it."""
    words = ["tensorboard", run.paths.root, "-o", folder, "--json", *arguments]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return Path(json.loads(done.stdout)["folder"])


def scalars(folder: Path) -> Scalars:
    reader = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    reader.Reload()
    return {
        tag: [(item.step, item.value) for item in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def charted(run: MadeRun, rank: int, tag: str) -> list[tuple[int, float]]:
    """What the dashboard's chart has."""
    series = client.open_run(run.paths.root).series(rank, tag)
    return [(step, f32(value)) for step, value in zip(series.steps, series.values, strict=True)]


def f32(value: float) -> float:
    return float(np.float32(value))


def sample(run: MadeRun, rank: int, time_s: float, attempt: int = 1) -> None:
    paths = run.rank(rank, attempt)
    device = metrics.DeviceRecord(time_s, 1 << 30, None, time_s % 100)
    with paths.device.open("ab") as file:
        file.write(metrics.pack_device(device))
    with paths.load.open("ab") as file:
        file.write(metrics.pack_load(metrics.LoadRecord(time_s, power_w=300.5)))


def reports(run: MadeRun, first: int, end: int, attempt: int = 1) -> None:
    for step in range(first, end):
        for rank in range(2):
            run.report(rank, step, attempt, learning_rate=0.1 / (step + 1))
    for rank in range(2):
        sample(run, rank, NOW - 80 + end - 0.5, attempt)


def check(run: MadeRun, folder: Path) -> None:
    for rank in range(2):
        found = scalars(folder / f"rank-{rank:04d}")
        for tag in DEVICE_TAGS:
            expected = charted(run, rank, tag)
            assert found.get(tag, []) == expected, (rank, tag)


def test_every_scalar_of_every_rank_is_there(made: MadeRun, tmp_path: Path) -> None:
    reports(made, 0, 300)
    check(made, export(made, tmp_path / "out"))


def test_what_comes_later_is_added_once(made: MadeRun, tmp_path: Path) -> None:
    for first in (0, 10, 20):
        reports(made, first, first + 10)
        folder = export(made, tmp_path / "out")
        check(made, folder)
    sizes = [path.stat().st_size for path in folder.rglob("*tfevents*")]
    export(made, tmp_path / "out")
    assert [path.stat().st_size for path in folder.rglob("*tfevents*")] == sizes


def test_a_resume_replaces_the_steps_that_were_lost(made: MadeRun, tmp_path: Path) -> None:
    reports(made, 0, 20)
    export(made, tmp_path / "out")
    made.add(e.AttemptFailed(1, e.Failure(e.FailureKind.SIGNAL, "killed", rank=1)), NOW)
    made.start(2, e.StartCheckpoint("/c", 0, 12))
    for step in range(12, 25):
        for rank in range(2):
            made.report(rank, step, 2, loss=step + 0.5)
    folder = export(made, tmp_path / "out")
    found = scalars(folder / "rank-0000")["loss"]
    assert [step for step, _ in found] == list(range(25))
    assert dict(found)[12] == 12.5
    check_again = export(made, tmp_path / "whole at once")
    assert scalars(check_again / "rank-0000") == scalars(folder / "rank-0000")


def test_unknown_values_are_left_out_and_a_lost_loss_is_infinite(
    made: MadeRun, tmp_path: Path
) -> None:
    made.report(0, 0, loss=1.0)
    made.report(0, 1, loss=math.nan, wait_ms=None)  # type: ignore[arg-type]
    made.report(0, 2, loss=2.0)
    found = scalars(export(made, tmp_path / "out") / "rank-0000")
    assert found["loss"] == [(0, 1.0), (1, math.inf), (2, 2.0)]
    assert [step for step, _ in found["wait_ms"]] == [0, 2]
    assert "memory_bytes" not in found


@pytest.mark.parametrize("every", [2, 10])
def test_every_n_keeps_the_first_report_of_n_steps(
    made: MadeRun, tmp_path: Path, every: int
) -> None:
    reports(made, 0, 23)
    export(made, tmp_path / "out", "--every", every)
    reports(made, 23, 47)
    folder = export(made, tmp_path / "out", "--every", every)
    assert [step for step, _ in scalars(folder / "rank-0001")["loss"]] == list(range(0, 47, every))
    words = ["tensorboard", str(made.paths.root), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert f"written with --every {every}" in str(done.exception)


def test_an_interrupted_export_continues(
    made: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended behind any write, with or without a note of it."""
    reports(made, 0, 40)
    whole = export(made, tmp_path / "whole")
    monkeypatch.setattr(tensorboard, "CHUNK", 7)
    real = tensorboard._Folder._write
    for ends_after in (1, 6, 15):
        left = ends_after

        def write(self: tensorboard._Folder, data: bytes) -> None:
            nonlocal left
            left -= 1
            real(self, data[:9] if not left else data)
            if not left:
                raise KeyboardInterrupt

        folder = tmp_path / f"after {ends_after}"
        for noted_s in (0.0, math.inf):
            left = ends_after
            with monkeypatch.context() as patched:
                patched.setattr(tensorboard, "NOTE_EVERY_S", noted_s)
                patched.setattr(tensorboard._Folder, "_write", write)
                patched.setattr(
                    tensorboard._Folder, "__exit__", lambda self, *_: self._open.close()
                )
                with contextlib.suppress(KeyboardInterrupt):
                    client.write_event_files(made.paths.root, folder, 1, lambda *_: None)
        client.write_event_files(made.paths.root, folder, 1, lambda *_: None)
        for rank in ("rank-0000", "rank-0001"):
            assert scalars(folder / rank) == scalars(whole / rank), ends_after


def test_evaluations_have_a_folder_for_each_kind_of_weights(made: MadeRun, tmp_path: Path) -> None:
    for step, top_1, weights in ((10, 0.5, "model"), (10, 0.6, "ema"), (20, 0.7, "ema")):
        made.add(e.EvalFinished(attempt=1, step=step, top_1_acc=top_1, weights=weights), NOW)
    folder = export(made, tmp_path / "out")
    export(made, tmp_path / "out")
    assert scalars(folder / "evaluation-model") == {"top_1_acc": [(10, 0.5)]}
    assert scalars(folder / "evaluation-ema")["top_1_acc"] == [(10, f32(0.6)), (20, f32(0.7))]


def test_the_bytes_are_those_of_tensorboards_own_classes() -> None:
    """Times, steps and values of any size; both readers check the CRCs."""
    steps = np.array([0, 1, 127, 128, 219_999, 2**41])
    times = np.array([0.1, 1.7e9, 2.0**33, 1.0, 5.5, 7.25])
    values = np.array([[1.5, 0.0], [-2.0, 1e30], [np.inf, 3.0], [1e-30, 1e300], [4.0, 5.0], [6, 7]])
    data = event_file.records(("ä tag", "b"), steps, times, values)
    for step, time_s, row in zip(steps, times, values, strict=True):
        size = int.from_bytes(data[:8], "little")
        body, crc = data[12 : 12 + size], data[12 + size : 16 + size]
        assert int.from_bytes(crc, "little") == masked_crc32c(body)
        event = Event.FromString(body)
        assert (event.step, event.wall_time) == (step, time_s)
        with np.errstate(over="ignore"):
            assert [item.simple_value for item in event.summary.value] == list(np.float32(row))
        data = data[16 + size :]
    assert data == b""


def test_without_tensorboard_it_says_how_to_install_it(
    made: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("tensorboard")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("tensorboard", "event_file"):
        monkeypatch.delitem(sys.modules, f"launcher.report.{name}")
        monkeypatch.delattr(f"launcher.report.{name}")
    with pytest.raises(LaunchError, match=r"tensorboard.* is not installed") as failed:
        client.write_event_files(made.paths.root, tmp_path, 1, lambda *_: None)
    assert failed.value.hint == "pip install -e '.[tensorboard]' in effnet-tui's clone"


def test_two_exports_to_one_folder_do_not_mix(made: MadeRun, tmp_path: Path) -> None:
    with tensorboard._Folder(tmp_path / "a run/rank-0000", 1, NOW - 100):
        words = ["tensorboard", str(made.paths.root), "-o", str(tmp_path)]
        done = CliRunner().invoke(app, words)
    assert "another export writes" in str(done.exception)
