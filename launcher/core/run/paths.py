"""Every path of a run directory (docs/run-directory.md)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_SUFFIX = ".ckpt"
MANIFEST_SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class _Folder:
    root: Path


class _Entry:
    """A file or folder with a fixed name: read from an instance, its path, which stays there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ""

    def __set_name__(self, owner: type[_Folder], key: str) -> None:
        self._key = key

    def __get__(self, folder: _Folder, owner: type[_Folder]) -> Path:
        path = folder.__dict__[self._key] = folder.root / self._name
        return path


class RankPaths(_Folder):
    """The files of one rank in one attempt."""

    log = _Entry("log.txt")
    metrics = _Entry("metrics.bin")
    device = _Entry("device.bin")
    load = _Entry("load.bin")
    heartbeat = _Entry("heartbeat")
    stacks = _Entry("stacks.log")


class AttemptPaths(_Folder):
    """The files of one attempt."""

    plan = _Entry("plan.json")
    profile = _Entry("profile.json")
    """The profile that the attempt began with: a resume may change the run's."""
    rank_table = _Entry("ranktable.json")
    hostfile = _Entry("hostfile")
    scheduler_log = _Entry("scheduler.log")
    mpirun_log = _Entry("mpirun.log")
    ranks = _Entry("ranks")

    def rank(self, rank: int) -> RankPaths:
        return RankPaths(self.ranks / f"{rank:04d}")

    def stacks(self, number: int) -> Path:
        """The stacks of all ranks that were taken as the attempt's ``number``-th, from 1."""
        return self.root / "stacks" / f"{number:03d}.json"

    def daemon_log(self, node: str) -> Path:
        """The output of OpenMPI's daemon on a node."""
        return self.root / f"mpirun-{_file_name(node)}.log"

    def fork_log(self, node: str) -> Path:
        """The output of the process that imports for the ranks of a node and forks them."""
        return self.root / f"fork-{_file_name(node)}.log"


class JobPaths(_Folder):
    """The files of one eval, export or infer job."""

    job = _Entry("job.json")
    log = _Entry("log.txt")
    result = _Entry("result.json")
    there = _Entry("there.json")
    """The job on its node, once it runs there."""
    done = _Entry("done.json")
    """How it ended there."""
    runner_log = _Entry("runner.log")
    batch_script = _Entry("batch.sh")
    """What Slurm runs, of a job on a compute node."""


class RunPaths(_Folder):
    """The files of one run; ``root`` is the run directory on the node that is meant."""

    run = _Entry("run.json")
    before_edit = _Entry("before-edit.json")
    """What a resume with other settings replaced, until the attempt has trained with them."""
    profile = _Entry("profile.json")
    config = _Entry("config.toml")
    events = _Entry("events.jsonl")
    stop = _Entry("stop")
    supervisor_log = _Entry("supervisor.log")
    supervisor = _Entry("supervisor.json")
    batch_script = _Entry("batch.sh")
    """What Slurm runs, of a run with that start method."""
    home = _Entry("home.json")
    """Where the run really is, when this is a copy of it (`supervisor = "first-node"`)."""
    link = _Entry("link.json")
    """Whether the machine that the run is on can be reached now."""
    checkpoint = _Entry("checkpoint")
    copies = _Entry("copies")
    """On another node than rank 0's: copies of checkpoints."""
    attempts = _Entry("attempts")
    jobs = _Entry("jobs")
    export = _Entry("export")

    @functools.lru_cache(maxsize=64)  # noqa: B019 a few small objects
    def attempt(self, number: int) -> AttemptPaths:
        """Attempts count from 1."""
        return AttemptPaths(self.attempts / f"{number:03d}")

    def job(self, job_id: str) -> JobPaths:
        return JobPaths(self.jobs / job_id)


def manifest_of(checkpoint: Path) -> Path:
    """Where the manifest of a checkpoint file is."""
    return checkpoint.with_name(checkpoint.name + MANIFEST_SUFFIX)


def job_id(number: int, kind: str) -> str:
    """The id of the run's ``number``-th job, from 1: ``001-eval``."""
    return f"{number:03d}-{kind}"


def node_journal(attempt_root: Path, node: str) -> Path:
    """The journal of one node's agent: its reports to the supervisor, numbered."""
    return attempt_root / "agents" / f"{_file_name(node)}.jsonl"


def _file_name(node: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in node)


def endpoint_file(journal: Path) -> Path:
    """The file with the address of a node's agent."""
    return journal.with_suffix(".json")


def agent_part(attempt: int, node: str) -> str:
    """An agent's name among the sockets of a run."""
    return f"agent {attempt} {node}"
