"""Values of secret variables reach the ranks and nothing else."""

from __future__ import annotations

import json
import os
import stat

import pytest

from launcher import client
from launcher.errors import LaunchError
from launcher.store.owner import private_folder
from tests.launcher.runs.secret_marks import (
    MARK,
    NAMES,
    PLAIN,
    environment_of,
    found_in,
    in_command_lines,
    with_secrets,
)
from tests.launcher.test_previous_version import root as previous  # noqa: F401
from tui.sources.live import LiveSource


def start(lab, *faults, **changes):
    """A run with secrets. -> its run directory."""
    profile = with_secrets(lab.profile(*faults, **changes))
    return lab.runs / client.start(str(profile), client.StartRequest(preflight=False))


def nowhere(lab):
    assert found_in([lab.runs]) == []
    assert in_command_lines() == []


def has_them(pid, mark=MARK):
    environment = environment_of(pid)
    assert environment["HF_TOKEN"] == "a" + mark
    assert environment["DB_PASSWORD"] == "b" + mark
    assert environment["PLAIN_NAME"] == "c" + mark
    assert PLAIN in environment["http_proxy"]


def test_ranks_have_them_and_nothing_else_shows_them(lab):
    root = start(lab, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    has_them(lab.pid_of(root, 0))
    has_them(lab.pid_of(root, 1))
    nowhere(lab)
    profile = str(lab.folder / "standin.toml")
    outputs = [
        lab.command(*command)
        for command in (
            ("plan", profile),
            ("plan", profile, "--json"),
            ("profiles", "show", profile),
            ("profiles", "show", profile, "--json"),
            ("profiles", "check", profile),
            ("preflight", profile),
            ("status", root.name, "--json"),
            ("events", root.name, "--json"),
            ("logs", root.name),
            ("stop", root.name),
        )
    ]
    for done in outputs:
        assert PLAIN not in done.stdout + done.stderr, done.args
    for done in outputs[:4]:
        assert done.returncode == 0, done.stderr
        for name in NAMES:
            assert name in done.stdout, done.args
        assert "(secret)" in done.stdout
    lab.nothing_left()
    plan = LiveSource().plan(profile, client.StartRequest())
    assert "HF_TOKEN=(secret)" in str(plan)
    assert PLAIN not in str(plan)
    nowhere(lab)


def test_the_file_is_private_outside_of_the_run_and_prune_removes_it(lab):
    root = start(lab, epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    folder = private_folder(root)
    files = found_in([folder])
    assert len(files) == 1
    assert root not in folder.parents
    assert stat.S_IMODE(os.stat(files[0]).st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert lab.command("prune", "--run", root.name, "--yes").returncode == 0
    assert not folder.exists()


def test_automatic_and_later_attempts_have_them(lab):
    kill = {"rank": 1, "step": 15, "attempt": 1, "do": "kill"}
    root = start(lab, kill, auto_resume=1, epochs=5000)
    lab.wait_for(root, "training_started", count=2)
    has_them(lab.pid_of(root, 1, attempt=2))
    lab.kill_supervisor(root)
    lab.until(lambda: not client.open_run(root).poll().is_supervised)
    client.stop(root)
    lab.wait_for(root, "attempt_stopped")
    lab.nothing_left()
    client.resume(root, client.ResumeRequest(preflight=False))
    lab.wait_for(root, "training_started", count=3)
    has_them(lab.pid_of(root, 0, attempt=3))
    client.stop(root)
    lab.nothing_left()
    nowhere(lab)


def test_a_resume_with_another_profile_replaces_them(lab):
    root = start(lab, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    client.stop(root)
    lab.nothing_left()
    changed = MARK.replace("Mark", "Other")
    profile = str(with_secrets(lab.profile(epochs=5000), changed))
    client.resume(root, client.ResumeRequest(profile=profile, preflight=False))
    lab.wait_for(root, "training_started", count=2)
    has_them(lab.pid_of(root, 0, attempt=2), changed)
    client.stop(root)
    lab.nothing_left()
    nowhere(lab)
    assert len(found_in([private_folder(root)], "Other")) == 1
    assert found_in([private_folder(root)], "Mark") == []


def test_jobs_have_them(lab):
    root = start(lab, epochs=5000, eval_s=600)
    lab.wait_for(root, "checkpoint_saved")
    job = client.start_job(root, client.JobRequest("eval"))
    log = root / f"jobs/{job}/log.txt"
    lab.until(log.exists)
    lab.until(lambda: _evaluations(lab))
    has_them(_evaluations(lab)[0].pid)
    nowhere(lab)
    client.stop_job(root, job)
    client.stop(root)
    lab.nothing_left()


def _evaluations(lab):
    return [p for p in lab.ours() if lab.words(p)[1:4] == ["-m", "effnet", "eval"]]


def test_without_its_values_a_run_is_refused_and_says_how(lab):
    root = start(lab, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    client.stop(root)
    lab.nothing_left()
    (private_folder(root) / "secrets.json").unlink()
    with pytest.raises(LaunchError, match=r"HF_TOKEN.* is not known") as caught:
        client.resume(root, client.ResumeRequest(preflight=False))
    assert "--profile FILE" in caught.value.hint
    profile = str(lab.folder / "standin.toml")
    client.resume(root, client.ResumeRequest(profile=profile, preflight=False))
    lab.wait_for(root, "training_started", count=2)
    has_them(lab.pid_of(root, 0, attempt=2))
    client.stop(root)
    lab.nothing_left()


def test_values_in_a_run_of_an_earlier_version_are_moved(lab, previous):  # noqa: F811
    for name in ("profile.json", "attempts/001/plan.json", "attempts/002/plan.json"):
        values = json.loads((previous / name).read_text())
        for item in values.get("processes", [values]):
            item["environment"]["HF_TOKEN"] = "a" + MARK
        (previous / name).write_text(json.dumps(values))
    client.resume(
        previous, client.ResumeRequest(settings=(("epoch_size", "500"),), preflight=False)
    )
    lab.wait_for(previous, "training_started", count=3)
    assert environment_of(lab.pid_of(previous, 0, attempt=3))["HF_TOKEN"] == "a" + MARK
    client.stop(previous)
    lab.nothing_left()
    nowhere(lab)
