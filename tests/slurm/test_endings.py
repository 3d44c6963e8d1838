"""What Slurm does to a job: its time limit, scancel, a requeue, a node that goes down."""

from __future__ import annotations

import pytest

from launcher import client
from launcher.reading.run import RunReader


def near_its_limit(lab, root):
    """What `--signal=B:USR1@…` does ahead of the limit, at once."""
    lab.slurm.call("scancel", "--batch", "--signal=USR1", lab.job(root))


def test_a_run_over_three_time_limits_is_one_run_and_loses_no_step(lab):
    root = lab.start_endless()
    for attempt in (1, 2):
        lab.trains(root, attempt)
        near_its_limit(lab, root)
        stopped = lab.end_of(root, attempt=attempt)
        assert stopped["kind"] == "attempt_stopped"
        queued = lab.wait_for(root, "slurm_queued", count=attempt + 1)
        assert queued["why"] == "it reached its time limit"
        begun = lab.wait_for(root, "attempt_started", count=attempt + 1, timeout_s=240)
        assert begun["resume"]["step"] == stopped["step"]
        assert begun["resume"]["steps_lost"] == 0
    lab.trains(root, 3)
    last = lab.enough(root, attempt=3)
    assert len({event["job"] for event in lab.events(root, "slurm_queued")}) == 1
    steps = [step for attempt in (1, 2, 3) for step in lab.steps(root, 3, attempt)]
    assert steps == list(range(last))
    lab.no_job_left(root)


HELD_UP = """\
import signal, sys
if {"launcher.supervisor.batch", "effnet.scheduler"} & set(sys.orig_argv):
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
"""
"""What Slurm sends these does not arrive: they learn from the ranks that those have stopped."""


def start_held_up(lab, monkeypatch):
    folder = lab.folder / "held-up"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HELD_UP)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    path = lab.profile(epochs=5000)
    text = path.read_text()
    assert 'PYTHONPATH = "' in text
    path.write_text(text.replace('PYTHONPATH = "', f'PYTHONPATH = "{folder}:'))
    return lab.runs / client.start(str(path), client.StartRequest(preflight=False))


@pytest.mark.parametrize("is_held_up", [False, True])
def test_scancel_is_a_stop_that_names_slurm(lab, monkeypatch, is_held_up):
    """Slurm ends the ranks, too: a supervisor that is held up hears of that first."""
    root = start_held_up(lab, monkeypatch) if is_held_up else lab.start(epochs=5000)
    lab.wait_for(root, "checkpoint_saved")
    lab.slurm.call("scancel", lab.job(root))
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    assert len(lab.events(root, "stop_requested")) == 1
    lab.no_job_left(root)
    by = RunReader(root).poll_state().stop_by
    assert by == f"Slurm (job {lab.job(root)} was cancelled: scancel)"
    assert "stopped" in lab.command("status", root.name).stdout


def test_a_requeue_continues_from_the_newest_checkpoint(lab):
    root = lab.start_endless()
    lab.wait_for(root, "checkpoint_saved", count=2)
    lab.slurm.call("scontrol", "requeue", lab.job(root))
    begun = lab.wait_for(root, "attempt_started", count=2, timeout_s=240)
    assert begun["resume"]["step"] >= 20
    lab.trains(root, 2)
    last = lab.enough(root, attempt=2)
    assert lab.steps(root, 3, 2)[-1] == last - 1
    lab.no_job_left(root)


def test_scancel_while_the_agents_start_is_a_stop_too(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "attempt_started")
    lab.slurm.call("scancel", lab.job(root))
    ended = lab.end_of(root)
    assert ended["kind"] == "attempt_stopped", ended
    lab.no_job_left(root)
