"""`compare`: runs in every state, of this version and of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launcher.cli.app import app
from launcher.core.run import events as e
from tests.launcher.reading.test_run import NOW, MadeRun
from tests.launcher.test_previous_version import FIXTURE, unpack


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runs = tmp_path / "runs"
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(runs))
    for name, factor, lr in (("fast", 1.0, 0.1), ("slow", 2.0, 0.2), ("living", 1.0, 0.1)):
        run = MadeRun(runs / name)
        run.start()
        for step in range(20):
            for rank in (0, 1):
                wait = 100.0 if rank == 0 or factor == 1.0 else 900.0
                run.report(
                    rank, step, step_time_ms=1000.0 * factor, images_per_s=64 / factor, wait_ms=wait
                )
        if name != "living":
            run.add(e.AttemptFinished(1, 20), NOW)
        run.paths.profile.write_text(json.dumps({
            "name": "p", "nodes": [{"address": "h"}], "trainer": {"lr_max": lr, "batch_size": 32},
        }))  # fmt: skip
    failed = MadeRun(runs / "failed")
    failed.add(e.AttemptStarted(1, 2), NOW)
    failed.add(e.AttemptFailed(1, e.Failure(e.FailureKind.OOM, "out of memory", rank=1)), NOW)
    (runs / "empty").mkdir()
    (runs / "empty" / "run.json").write_text("{")
    unpack(FIXTURE, runs)
    return runs


def test_what_differs_and_why(folder: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "fast", "slow"])
    assert done.exit_code == 0, done.output
    for words in (
        "lr_max 0.1 (profile p) 0.2 (profile p)",
        "B is 2 times as slow as A: 32.0 images/s, A 64.0",
        "a step of B takes 1000 ms longer",
        "images a step 64 64",
    ):
        assert words in " ".join(done.stdout.split()), done.stdout
    assert "batch_size" not in done.stdout


def test_runs_in_every_state_and_of_an_earlier_version(folder: Path) -> None:
    names = ["fast", "living", "failed", "empty", "previous"]
    done = CliRunner().invoke(app, ["compare", *names, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [run["run"] for run in found["runs"]] == names
    assert [run["status"] for run in found["runs"]][2:] == ["failed", "lost", "stopped"]
    assert all(len(item["settings"]) == len(names) for item in found["differences"])
    assert any("C failed once: rank 1: out of memory" in words for words in found["words"])
    assert found["speeds"][0]["images_per_step"] == 64
    assert found["speeds"][4]["goodput"]["compute_s"] > 0
    assert CliRunner().invoke(app, ["compare", *names]).exit_code == 0


def test_wrong_numbers_of_runs_and_unknown_ones(folder: Path) -> None:
    for arguments, words in ((["fast"], "1 run given"), (["fast", "nope"], "no run's id starts")):
        done = CliRunner().invoke(app, ["compare", *arguments])
        assert done.exit_code != 0
        assert words in str(done.exception)
