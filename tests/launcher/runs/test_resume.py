"""Resuming a run: which checkpoint, which settings."""

from __future__ import annotations

import pytest

from launcher import client
from launcher.errors import CheckpointError
from launcher.store import run as run_files
from launcher.store import run_lock


def test_a_half_written_checkpoint_is_skipped(lab):
    root = lab.start(
        {"rank": 0, "step": 20, "do": "half_checkpoint"},
        {"rank": 1, "step": 24, "do": "kill", "attempt": 1},
    )
    lab.wait_for(root, "attempt_failed")
    lab.nothing_left()
    damaged = root / "checkpoint/step-00000020.ckpt"
    (root / "checkpoint/step-00000029.ckpt").write_bytes(b"a part of a file")
    choice = client.resume(root, client.ResumeRequest(preflight=False))
    assert choice.step == 10
    assert choice.steps_lost is not None
    assert choice.steps_lost >= 13
    why = {skipped.path: skipped.why for skipped in choice.skipped}
    assert "sha256" in why[str(damaged)]
    assert "manifest" in why[str(root / "checkpoint/step-00000029.ckpt")]
    lab.wait_for(root, "attempt_finished")
    assert lab.check_metrics(root, 0, attempt=2) == list(range(10, 30))


def test_resume_without_a_checkpoint_is_refused_except_from_scratch(lab):
    root = lab.start({"rank": 0, "step": 3, "do": "exit", "code": 7, "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not run_lock.is_supervised(root))
    with pytest.raises(CheckpointError):
        client.resume(root, client.ResumeRequest(preflight=False))
    assert lab.command("resume", root.name).returncode == 5
    client.resume(root, client.ResumeRequest(checkpoint="scratch", preflight=False))
    lab.wait_for(root, "attempt_finished")


def test_refused_settings_are_not_kept(lab):
    root = lab.start(
        {"rank": 1, "step": 14, "do": "kill", "attempt": 1},
        {"step": 0, "do": "exit", "code": 5, "attempt": 2},
    )
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not run_lock.is_supervised(root))
    client.resume(root, client.ResumeRequest(settings=(("seed", "9"),), preflight=False))
    lab.wait_for(root, "attempt_failed", count=2)
    lab.until(lambda: not run_lock.is_supervised(root))
    client.resume(root, client.ResumeRequest(preflight=False))
    lab.wait_for(root, "attempt_finished")
    plans = [(root / "attempts" / number / "plan.json").read_text() for number in ("002", "003")]
    assert ["seed=9" in plan for plan in plans] == [True, False]


def test_settings_that_an_attempt_trained_with_are_kept(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not run_lock.is_supervised(root))
    client.resume(root, client.ResumeRequest(settings=(("seed", "9"),), preflight=False))
    lab.wait_for(root, "attempt_finished")
    lab.until(lambda: not run_lock.is_supervised(root))
    assert ("seed", "9") in run_files.load(root).request.settings
    assert not (root / "before-edit.json").exists()


def test_a_run_continues_from_the_checkpoint_of_another_run(lab, tmp_path):
    first = lab.start(epochs=2)
    lab.wait_for(first, "attempt_finished", "attempt_failed")
    elsewhere = tmp_path / "a copy"
    elsewhere.mkdir()
    for suffix in ("", ".manifest.json"):
        name = f"step-00000010.ckpt{suffix}"
        (elsewhere / name).write_bytes((first / "checkpoint" / name).read_bytes())
    done = lab.command(
        "start", str(lab.profile(epochs=2)), "--follow", "--name", "second",
        "--resume", str(elsewhere / "step-00000010.ckpt"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    second = lab.runs / "second"
    started = lab.events(second, "attempt_started")[0]
    assert started["resume"]["step"] == 10
    assert lab.check_metrics(second, 0) == list(range(10, 20))
    done = lab.command("start", str(lab.profile()), "--resume", str(tmp_path / "none.ckpt"))
    assert done.returncode == 1
    assert "none.ckpt" in done.stderr
    assert len(client.list_runs()) == 2
