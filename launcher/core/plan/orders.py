"""What a supervisor tells a node agent to do, in one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """How long each way of ending may take."""

    stop_save_s: float = 120.0
    """For the ranks to save and leave by themselves after a stop request."""
    term_s: float = 10.0
    """Between SIGTERM and SIGKILL, when a run is stopped."""
    fail_term_s: float = 1.5
    """The same when a rank died: its peers can save nothing without it."""
    kill_s: float = 10.0
    """For the kernel to take away what got SIGKILL."""
    finish_s: float = 10.0
    """For the scheduler and helpers to leave by themselves when the ranks are done."""
    spread_s: float = 60.0
    """Between the first rank that says it is done and the last one."""
    join_s: float = 600.0
    """Until mpirun has started the ranks that it starts."""
    orphan_limit_s: float = 3600.0
    """Without a supervisor, after this the agent saves and ends its ranks."""


@dataclass(frozen=True)
class ProcessOrder:
    """One process: a rank, the cluster's scheduler, or mpirun. `rank` is None but for ranks."""

    role: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: str
    rank: int | None = None
    local_rank: int = 0
    device: int | None = None
    cwd: str | None = None
    cpus: tuple[int, ...] = ()
    heartbeat: str | None = None
    by_mpirun: bool = False
    """mpirun starts it, and it comes to the agent to be told what to do."""

    @property
    def name(self) -> str:
        return self.role if self.rank is None else f"rank {self.rank}"


@dataclass(frozen=True)
class NodeOrder:
    """All that one agent starts in one attempt. `root` is the run directory on that node."""

    run: str
    attempt: int
    node: str
    token: str
    root: str
    python: str
    processes: tuple[ProcessOrder, ...]
    stop_file: str
    device_target: str = "CPU"
    limits: Limits = field(default_factory=Limits)
    hang: Mapping[str, float] = field(default_factory=dict)
    """Limits of the hang rule by name (`launcher.core.diagnosis.hang`); empty: its own."""
    sees_all_ranks: bool = True
    """Whether all ranks of the run are on this node."""
    start_stagger_s: float = 0.0
    """Between the scheduler and the ranks."""
    log_limit_bytes: int = 0
    """What the run's logs may take on this node's disk; 0: anything."""
    sample_s: float = 2.0
    """Between two samples of memory."""

    @property
    def ranks(self) -> tuple[ProcessOrder, ...]:
        return tuple(process for process in self.processes if process.rank is not None)


def with_setup(setup: tuple[str, ...], argv: tuple[str, ...]) -> tuple[str, ...]:
    """The one place where a shell is needed: set_env.sh files can only be sourced."""
    if not setup:
        return argv
    return ("/bin/bash", "-c", "\n".join([*setup, 'exec "$@"']), "setup", *argv)


def token_of(run: str, attempt: int) -> str:
    """The ownership token of one attempt; `<run>/` stands for the whole run, jobs included."""
    return f"{run}/{attempt:03d}"
