"""Every path of a run directory (docs/run-directory.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_SUFFIX = ".ckpt"
MANIFEST_SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class RankPaths:
    """The files of one rank in one attempt."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.bin"

    @property
    def device(self) -> Path:
        return self.root / "device.bin"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat"


@dataclass(frozen=True)
class AttemptPaths:
    """The files of one attempt."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def profile(self) -> Path:
        """The profile that the attempt began with: a resume may change the run's."""
        return self.root / "profile.json"

    @property
    def rank_table(self) -> Path:
        return self.root / "ranktable.json"

    @property
    def hostfile(self) -> Path:
        return self.root / "hostfile"

    @property
    def scheduler_log(self) -> Path:
        return self.root / "scheduler.log"

    @property
    def mpirun_log(self) -> Path:
        return self.root / "mpirun.log"

    @property
    def ranks(self) -> Path:
        return self.root / "ranks"

    def rank(self, rank: int) -> RankPaths:
        return RankPaths(self.ranks / f"{rank:04d}")


@dataclass(frozen=True)
class JobPaths:
    """The files of one eval, export or infer job."""

    root: Path

    @property
    def job(self) -> Path:
        return self.root / "job.json"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def result(self) -> Path:
        return self.root / "result.json"


@dataclass(frozen=True)
class RunPaths:
    """The files of one run; ``root`` is the run directory on the node that is meant."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def before_edit(self) -> Path:
        """What a resume with other settings replaced, until the attempt has trained with them."""
        return self.root / "before-edit.json"

    @property
    def profile(self) -> Path:
        return self.root / "profile.json"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def stop(self) -> Path:
        return self.root / "stop"

    @property
    def supervisor_log(self) -> Path:
        return self.root / "supervisor.log"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor.json"

    @property
    def home(self) -> Path:
        """Where the run really is, when this is a copy of it (`supervisor = "first-node"`)."""
        return self.root / "home.json"

    @property
    def link(self) -> Path:
        """Whether the machine that the run is on can be reached now."""
        return self.root / "link.json"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def attempts(self) -> Path:
        return self.root / "attempts"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def export(self) -> Path:
        return self.root / "export"

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
    """The journal of one node's agent: what it told the supervisor, numbered."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in node)
    return attempt_root / "agents" / f"{safe}.jsonl"


def endpoint_file(journal: Path) -> Path:
    """The file that says where a node's agent can be reached."""
    return journal.with_suffix(".json")


def agent_part(attempt: int, node: str) -> str:
    """An agent's name among the sockets of a run."""
    return f"agent {attempt} {node}"
