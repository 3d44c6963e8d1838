"""The plan: everything that a start writes and runs, as a value that prints itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import PlanError


class Role(str, Enum):
    """What a planned process is for."""

    SCHEDULER = "scheduler"
    MPIRUN = "mpirun"
    RANK = "rank"


@dataclass(frozen=True)
class NodeFacts:
    """What only the node itself knows; every field may be left open.

    ``run_directory`` is where the run's folder is on that node, ``cpus`` are the cores that its
    ranks may use.
    """

    run_directory: str = ""
    python: str = ""
    cpus: tuple[int, ...] = ()
    device_ips: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunContext:
    """What is known at a start and does not stand in the profile.

    ``resume`` is ``""``, ``"auto"`` or a checkpoint's path; ``settings`` are ``--set`` pairs;
    ``python`` is the interpreter of local nodes; ``ssh_config`` is the file that mpirun's ssh is to
    read; ``facts`` go by node name.
    """

    run: str
    run_directory: str
    attempt: int = 1
    python: str = "python"
    resume: str = ""
    data_path: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    ssh_config: str = ""
    master_address: str = ""
    master_port: int = 0
    facts: Mapping[str, NodeFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedFile:
    """A file that a start writes on a node (``""``: beside the supervisor)."""

    node: str
    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class PlannedNode:
    """A node of the plan, in the profile's order."""

    name: str
    address: str
    is_local: bool
    run_directory: str
    rank_count: int


@dataclass(frozen=True)
class PlannedProcess:
    """A process that a start runs on a node.

    ``argv`` and ``environment`` are the trainer's (or the scheduler's) own; the node agent runs
    them through ``python -m launcher.rank``, which adds what belongs to ownership. An empty
    ``cpus`` binds to no cores; ``is_started`` is false where mpirun starts the process.
    """

    role: Role
    node: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: str
    python: str = "python"
    working_directory: str = ""
    cpus: tuple[int, ...] = ()
    rank: int | None = None
    local_rank: int | None = None
    device_id: int | None = None
    metrics: str = ""
    device_samples: str = ""
    heartbeat: str = ""
    setup: tuple[str, ...] = ()
    is_started: bool = True


@dataclass(frozen=True)
class Plan:
    """One attempt, from its first file to its last process."""

    run: str
    attempt: int
    profile: str
    device_target: str
    start_method: str
    world_size: int
    run_directory: str
    stop_file: str
    master_address: str
    master_port: int
    nodes: tuple[PlannedNode, ...]
    files: tuple[PlannedFile, ...]
    processes: tuple[PlannedProcess, ...]

    @property
    def ranks(self) -> tuple[PlannedProcess, ...]:
        """The ranks, in order."""
        return tuple(process for process in self.processes if process.role is Role.RANK)

    def on_node(self, name: str) -> tuple[PlannedProcess, ...]:
        """The processes of one node."""
        return tuple(process for process in self.processes if process.node == name)

    def to_json(self) -> str:
        """All of the plan; :func:`plan_from_json` reads it back without loss."""
        return json.dumps(to_plain(self), indent=2, ensure_ascii=False)


def plan_from_json(text: str | bytes) -> Plan:
    """The plan that :meth:`Plan.to_json` wrote. Raises :class:`PlanError`."""
    try:
        return from_plain(Plan, json.loads(text))
    except (ValueError, Mismatch, RecursionError) as error:
        raise PlanError(f"the plan can't be read: {error}") from None
