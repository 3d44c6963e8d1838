"""The Slurm of these tests is a real one."""

from __future__ import annotations

from tests.slurm.scheduler import Slurm


def test_a_job_runs_on_three_hosts_and_leaves_nothing(slurm: Slurm) -> None:
    before = slurm.processes()
    assert sorted(slurm.call("srun", "-N3", "hostname").split()) == ["n1", "n2", "n3"]
    slurm.until(lambda: slurm.is_as(before), "processes are left")


def test_a_batch_job_that_is_cancelled_in_the_queue_is_known_as_cancelled(slurm: Slurm) -> None:
    argv = ["sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap", "true"]
    job = slurm.call(*argv).strip()
    assert slurm.job_state(job) == "PENDING"
    slurm.call("scancel", job)
    assert slurm.job_state(job) == "CANCELLED"
