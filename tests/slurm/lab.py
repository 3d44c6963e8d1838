"""Runs of the stand-in trainer under Slurm; this machine is the login node."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import pace
from tests.cluster.hosts import ClusterError
from tests.cluster.lab import LIMIT_S, ROOT, STANDIN, ClusterLab
from tests.slurm.scheduler import Slurm

PROFILE = """\
name = "standin"
device_target = "CPU"
start_method = "slurm"
data_path = {data}

[node_defaults]
slots = {slots}

[slurm]
nodes = {nodes}
partition = "{partition}"
time_limit = "{time_limit}"
signal_s = {signal_s}
options = {options}

[trainer]
epoch_size = {epochs}

[limits]
stop_save_s = 15
term_s = 2
kill_s = 5
supervisor_restart_s = 1
unreachable_s = {unreachable_s}

[retry]
auto_resume = {auto_resume}
on_silent = "{on_silent}"

[environment]
PYTHONPATH = {python_path}
STANDIN_FAULTS = {faults}
STANDIN_STEPS = "10"
STANDIN_STEP_S = "{step_s}"
STANDIN_EVAL_S = "{eval_s}"
STANDIN_ENOUGH = "{enough}"
"""


AGAIN_S = 300
"""Slurm may start a job that it queued again two minutes later."""


class SlurmLab(ClusterLab):
    """`hosts` is the cluster's Slurm: it answers for the hosts, too."""

    def __init__(self, slurm: Slurm) -> None:
        super().__init__(slurm, slurm.shared)  # type: ignore[arg-type]
        self.slurm = slurm

    def profile(self, *faults: dict[str, Any], **changes: Any) -> Path:
        values: dict[str, Any] = {
            "nodes": 2,
            "slots": 2,
            "partition": "train",
            "time_limit": "",
            "signal_s": 60,
            "options": [],
            "epochs": 3,
            "unreachable_s": 60,
            "auto_resume": 0,
            "eval_s": 0,
            "on_silent": "report",
            "enough": "",
        }
        values |= changes
        values.setdefault("step_s", pace.step_s(values["epochs"]))
        text = PROFILE.format(
            **{**values, "options": json.dumps(values["options"])},
            data=json.dumps(str(STANDIN)),
            python_path=json.dumps(str(STANDIN)),
            faults=json.dumps(json.dumps(faults)),
        )
        self.enough_file.unlink(missing_ok=True)
        path = self.folder / "standin.toml"
        path.write_text(text)
        return path

    @property
    def enough_file(self) -> Path:
        return self.folder / "enough"

    def start_endless(self, *faults: dict[str, Any], **changes: Any) -> Path:
        return self.start(*faults, epochs=5000, enough=self.enough_file, **changes)

    def trains(self, root: Path, attempt: int) -> None:
        """It has trained for an epoch, or for the rest of one."""
        self.until(
            lambda: any(e["attempt"] == attempt for e in self.events(root, "epoch_finished")),
            AGAIN_S,
        )

    def enough(self, root: Path, attempt: int = 1) -> int:
        """Lets that attempt finish its epoch, which is the last one. -> steps of training."""
        self.enough_file.touch()
        ended = self.end_of(root, attempt=attempt)
        assert ended["kind"] == "attempt_finished", ended
        return int(ended["step"])

    def end_of(self, root: Path, timeout_s: float = AGAIN_S, attempt: int = 1) -> dict[str, Any]:
        """The event that ends that attempt."""
        kinds = ("attempt_finished", "attempt_failed", "attempt_stopped")
        return self.wait_for(root, *kinds, count=attempt, timeout_s=timeout_s)

    def fill_partition(self) -> str:
        """Runs a job that has all nodes until it is cancelled. -> its number."""
        argv = ("sbatch", "--parsable", "-N3", "--exclusive", "--output=/dev/null")
        job = self.slurm.call(*argv, "--wrap", "sleep 3000").strip()
        self.until(lambda: self.slurm.job_state(job) == "RUNNING")
        return job

    def job(self, root: Path) -> str:
        """The number of the run's newest job; a copy of the run has it later."""
        self.wait_for(root, "slurm_queued")
        return str(self.events(root, "slurm_queued")[-1]["job"])

    def clean(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command where no other process is seen: tests beside this one have leftovers."""
        argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return subprocess.run(
            [*argv, sys.executable, "-m", "launcher.cli.app", "clean", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def no_job_left(self, root: Path) -> None:
        """Nor any process of it on any host, by Slurm's account and by ours."""
        job = self.job(root)
        over = ("", "COMPLETED", "CANCELLED", "FAILED")  # or forgotten
        shown = ("scontrol", "show", "job", "-o", job)
        self.until(
            lambda: self.slurm.job_state(job) in over,
            why=lambda: f"it is not over: {self.slurm.call(*shown)}",
        )
        self.nothing_left()

    def end_all(self) -> None:
        with contextlib.suppress(ClusterError):
            self.slurm.call("scancel", "--user", "root")
        for seen in {s for found in self.left().values() for s in found}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.pid, 9)


@contextlib.contextmanager
def slurm_lab(slurm: Slurm) -> Iterator[SlurmLab]:
    """Runs in a folder that all hosts share; a process that is left on any host is an error."""
    from launcher.reading.living.queue import shared_queue

    shared_queue.cache_clear()
    runtime = tempfile.mkdtemp(prefix="lab-", dir="/tmp")
    os.environ |= {
        "XDG_RUNTIME_DIR": runtime,
        "XDG_STATE_HOME": str(slurm.shared / "home"),
        "EFFNET_RUNS_DIR": str(slurm.shared / "runs"),
        "NO_COLOR": "1",
    }
    lab = SlurmLab(slurm)
    try:
        yield lab
        lab.nothing_left()
    finally:
        lab.end_all()
        shutil.rmtree(slurm.shared / "runs", ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)
