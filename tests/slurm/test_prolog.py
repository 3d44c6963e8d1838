"""A prolog that fails: slurmd runs it before the first step of a job, and its node is drained."""

from __future__ import annotations

import contextlib

import pytest

from launcher.core.run.state import RunStatus
from launcher.store.event_log import EventLog
from launcher.supervisor.slurm.batch_job import BatchJob, Ending


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_job_that_slurm_holds_after_a_failed_prolog_says_how_to_release_it(lab, node):
    """On the job's first node nothing of it starts; on the other one the agent does not."""

    def shown():
        return " ".join(lab.command("status", root.name).stdout.split())

    with lab.slurm.bad_prolog(node):
        root = lab.start(epochs=1)
        job = lab.job(root)
        lab.until(lambda: f"release it: scontrol release {job}" in shown())
        words = shown()
        assert "pending" in words
        assert "a node could not start it (sinfo -R says which one and why)" in words
        assert "expected to start" not in words
        assert "Prolog error" in lab.slurm.call("sinfo", "-R")
        attempt = len(lab.events(root, "attempt_started")) + 1
        lab.slurm.call("scontrol", "release", job)
        assert lab.end_of(root, attempt=attempt)["kind"] == "attempt_finished"
    assert set(lab.nodes(root, attempt).values()) == {"n1", "n2", "n3"} - {node}
    lab.no_job_left(root)


def test_a_job_that_slurm_has_queued_already_stays_the_runs(lab):
    """Its supervisor heard of the node's loss before Slurm's signal, and queues the job again."""
    root = lab.start(options=["--hold"])
    job = lab.job(root)
    batch = BatchJob({"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "n1,n2"})
    batch.ending = Ending("Slurm", False, "n2 was lost", must_requeue=True)
    with contextlib.closing(EventLog(root / "events.jsonl")) as log:
        batch.queue_again(log)
        assert (log.state.status, log.state.slurm_why) == (RunStatus.PENDING, "n2 was lost")
    assert lab.slurm.job_state(job) == "PENDING"
