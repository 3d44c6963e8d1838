"""`runs --filter`, `--sort`, `--json`: the runs of a folder, found by what is in their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app
from launcher.core.run import events as e
from launcher.core.run.events import Failure, FailureKind
from launcher.core.run.info import RunInfo
from launcher.core.run.requests import StartRequest
from launcher.errors import LaunchError
from tests.launcher.reading.test_run import NOW, MadeRun

MANIFEST = {"sha256": "0", "bytes": 1, "epoch": 1, "step": 45}


def manifest(run: MadeRun, **config: object) -> None:
    run.paths.checkpoint.mkdir(exist_ok=True)
    text = json.dumps({**MANIFEST, "config": config})
    (run.paths.checkpoint / "step-00000045.ckpt.manifest.json").write_text(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with a checkpoint, a failed one without, one that --set changed."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(runs))
    good = MadeRun(runs / "good")
    good.start()
    good.add(e.EvalFinished(1, None, 1, 45, 1.0, 0.75, 0.9, 360, "ema"), NOW)
    good.add(e.EvalFinished(1, None, 2, 90, 1.0, 0.5, 0.9, 360, "ema"), NOW)
    good.add(e.AttemptFinished(1, 90), NOW)
    manifest(good, lr_max=0.1, seed=1)
    bad = MadeRun(runs / "bad")
    bad.start()
    cause = Failure(FailureKind.OOM, "rank 1: the node ran out of memory", rank=1, node="n")
    bad.add(e.AttemptFailed(1, cause), NOW)
    bad.paths.profile.write_text('{"name": "gpu", "trainer": {"lr_max": 0.2}}')
    other = MadeRun(runs / "other")
    info = RunInfo("other", "gpu", NOW, 2, start=StartRequest((("lr_max", "0.3"),), note="warm-up"))
    other.paths.run.write_text(info.to_json())
    other.start()
    other.add(e.AttemptStopped(1, 9), NOW)
    manifest(other, lr_max=0.1, seed=2)
    return runs


def ids(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["runs", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return [run["run"] for run in json.loads(done.stdout)]


def test_filters_and_sorting(folder: Path) -> None:
    assert sorted(ids()) == ["bad", "good", "other"]
    assert ids("--filter", "state:failed") == ["bad"]
    assert ids("--filter", "lr_max>=0.2", "--sort", "lr_max") == ["bad", "other"]
    assert ids("--filter", "-state:failed", "--sort", "top1") == ["good", "other"]
    assert ids("--sort", "lr_max", "--reverse") == ["other", "bad", "good"]
    assert ids("--sort", "lr_max", "--limit", "1") == ["good"]
    assert ids("--filter", 'note:"warm-up" seed:2') == ["other"]
    assert ids("--filter", "cause:memory") == ["bad"]


def test_the_json_has_what_a_filter_compares(folder: Path) -> None:
    done = CliRunner().invoke(app, ["runs", "--json", "--filter", "id:good"])
    (run,) = json.loads(done.stdout)
    assert (run["best_top_1"], run["duration_s"], run["cause"]) == (0.75, 90.0, "")
    assert run["config"] == {"lr_max": 0.1, "seed": 1}


def test_the_table_shows_causes_and_notes_at_every_width(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("80", "160"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = CliRunner().invoke(app, ["runs"]).stdout
        assert "rank 1: the node ran out of memory" in shown
        assert "warm-up" in shown
        assert "75.00 %" in shown
        assert all(len(line) <= int(columns) for line in shown.splitlines()[:4])


def test_wrong_filters_are_refused_with_the_nearest_name(folder: Path) -> None:
    for words, expected in (
        (["--filter", "lrmax>1"], "did you mean 'lr_max'"),
        (["--sort", "topp1"], "did you mean 'top1'"),
    ):
        done = CliRunner().invoke(app, ["runs", *words])
        assert done.exit_code != 0
        assert expected in str(done.exception)
    assert "none of the 3 runs matches" in CliRunner().invoke(app, ["runs", "--filter", "x"]).stdout


def test_without_runs_a_filter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "none"))
    shown = CliRunner().invoke(app, ["runs", "--filter", "lr_max>1"]).stdout
    assert "no runs yet" in shown


def test_attach_shows_a_run_whose_jobs_cannot_be_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(run: object) -> tuple[str, ...]:
        raise LaunchError("they belong to another user")

    monkeypatch.setattr(client, "connect", lambda run: False)
    monkeypatch.setattr(client, "follow_jobs", refused)
    done = CliRunner().invoke(app, ["attach", "good"])
    assert done.exit_code == 0, done.output
    assert "its jobs are not followed: they belong to another user" in done.output
    assert "finished" in done.output
