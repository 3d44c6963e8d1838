"""Jobs in Slurm's queue that no run knows of: listed in words, cancelled when confirmed."""

from __future__ import annotations

import shutil

from tests.job_runner import kill_runner


def test_clean_cancels_jobs_that_no_run_knows_of_and_no_other(lab):
    over = lab.start(epochs=1)
    assert lab.end_of(over)["kind"] == "attempt_finished"
    lab.no_job_left(over)
    blocker = lab.fill_partition()
    removed, known = lab.start(), lab.start()
    jobs = [lab.job(removed), lab.job(known)]
    lab.command("eval", over.name, "--detach")
    jobs.append(lab.wait_for(over, "job_queued")["slurm_job"])
    done = lab.clean()
    assert "0 found" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0

    # Another job by hand has the right script; one with the right name proves nothing.
    jobs.append(lab.slurm.call("sbatch", "--parsable", str(known / "batch.sh")).strip())
    argv = ("sbatch", "--parsable", f"--job-name={removed.name}", "--output=/dev/null")
    jobs.append(lab.slurm.call(*argv, "--wrap", "true").strip())
    shutil.rmtree(removed)
    kill_runner(over / "jobs/001-eval")
    shutil.rmtree(over / "jobs/001-eval")
    done = lab.clean()
    assert done.returncode == 4, done.stdout + done.stderr
    shown = " ".join(done.stdout.split())
    for job in (jobs[0], jobs[2], jobs[3]):
        assert f"job {job} waits in the queue" in shown
    for why in ("run directory was removed", "its folder was removed", "run does not know of it"):
        assert why in shown
    assert "submitted 20" in shown
    assert [lab.slurm.job_state(job) for job in jobs] == ["PENDING"] * 5

    done = lab.clean("--yes")
    assert "3 found, 0 left" in done.stdout, done.stdout + done.stderr
    states = [lab.slurm.job_state(job) for job in jobs]
    assert states == ["CANCELLED", "PENDING", "CANCELLED", "CANCELLED", "PENDING"]
    assert lab.slurm.job_state(blocker) == "RUNNING"
    assert lab.command("stop", known.name).returncode == 0
    lab.slurm.call("scancel", jobs[4], blocker)


def test_clean_says_that_slurm_does_not_answer(lab):
    root = lab.start(epochs=1, options=["--begin=now+1hour"])
    lab.slurm.kill_slurmctld(lab.job(root))
    done = lab.clean()
    assert "Slurm was not asked" in done.stderr, done.stdout + done.stderr
    assert done.returncode == 6
    lab.slurm.power_on()
