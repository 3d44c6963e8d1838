"""The plan: everything that a start writes and runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from launcher.core.plan import logical
from launcher.core.profile.model import Limits
from launcher.core.profile.secrets import reveal
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.core.text.figures import plural
from launcher.errors import PlanError


class Role(str, Enum):
    """What a planned process is for."""

    SCHEDULER = "scheduler"
    MPIRUN = "mpirun"
    MPIRUN_DAEMON = "OpenMPI daemon"
    RANK = "rank"
    FORK = "fork parent"
    JOB = "job"


@dataclass(frozen=True)
class NodeFacts:
    """Facts that only the node knows; any may be empty.

    ``run_directory`` is where the run's folder is on that node, ``cpus`` are the cores that its
    ranks may use.
    """

    run_directory: str = ""
    python: str = ""
    cpus: tuple[int, ...] = ()
    device_ips: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunContext:
    """What a start needs beside the profile.

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
    """A file that a start writes on each of ``nodes`` (``""``: beside the supervisor).

    ``paths`` has the nodes where it is not ``path``: a table of all ranks is in the plan once,
    whatever the nodes' folders are called.
    """

    nodes: tuple[str, ...]
    path: str
    content: str
    mode: int = 0o600
    paths: Mapping[str, str] = field(default_factory=dict)

    def on(self, node: str) -> PlannedFile:
        """As this one of its nodes writes it."""
        return replace(self, nodes=(node,), path=self.paths.get(node, self.path), paths={})

    @property
    def where(self) -> str:
        """`` on alpha, beta and 2 more nodes``, empty when it is only beside the supervisor."""
        if self.nodes == ("",):
            return ""
        names = [
            (node or "this machine") + (f" (as {self.paths[node]})" if node in self.paths else "")
            for node in self.nodes[:3]
        ]
        more = f" and {plural(len(self.nodes) - 3, 'more node')}" if len(self.nodes) > 3 else ""
        return f" on {', '.join(names)}{more}"


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
    ``is_own`` is false for a program of the user's: the launcher's modules are not on its path.
    ``is_forked`` is true where one process of the node may import for it and fork it.
    """

    role: Role
    node: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: str
    working_directory: str = ""
    cpus: tuple[int, ...] = ()
    rank: int | None = None
    local_rank: int | None = None
    device_id: int | None = None
    heartbeat: str = ""
    setup: tuple[str, ...] = ()
    is_started: bool = True
    is_own: bool = True
    is_forked: bool = False

    @property
    def name(self) -> str:
        return self.role.value if self.rank is None else f"rank {self.rank}"


@dataclass(frozen=True)
class Plan:
    """One attempt, from its first file to its last process.

    ``log_limit_bytes`` is what the run's logs may take on a node's disk; 0: anything.
    ``keep_warm_s``: how long a failed attempt keeps what has imported for its ranks.
    """

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
    limits: Limits = field(default_factory=Limits)
    log_limit_bytes: int = 0
    log_pattern: str = ""
    keep_warm_s: float = 0.0

    @property
    def runs_trainer(self) -> bool:
        """Whether the ranks are the bundled trainer, and no program of the user's."""
        return all(process.is_own for process in self.ranks)

    @property
    def ranks(self) -> tuple[PlannedProcess, ...]:
        """The ranks, in order."""
        return tuple(process for process in self.processes if process.role is Role.RANK)

    @property
    def logical_size(self) -> int:
        """How many logical ranks the ranks carry: more than there are after the loss of a node."""
        variables = self.ranks[0].environment if self.ranks else {}
        return int(variables.get(logical.SIZE, self.world_size))

    @property
    def ranks_words(self) -> str:
        """``8 ranks``, or ``6 ranks that carry 8`` after the loss of a node."""
        carried = self.logical_size
        more = "" if carried == self.world_size else f" that carry {carried}"
        return f"{self.world_size} ranks{more}"

    @property
    def node(self) -> PlannedNode:
        """The node of a part that `for_node` made."""
        return self.nodes[0]

    @property
    def has_all_ranks(self) -> bool:
        """Whether a part has all ranks of the run."""
        return len(self.ranks) == self.world_size

    def for_node(self, name: str) -> Plan:
        """The part of one node, with the run directory as that node names it."""
        node = next(node for node in self.nodes if node.name == name)
        return replace(
            self,
            run_directory=node.run_directory,
            stop_file=str(RunPaths(Path(node.run_directory)).stop),
            nodes=(node,),
            files=tuple(file.on(name) for file in self.files if name in file.nodes),
            processes=tuple(process for process in self.processes if process.node == name),
        )

    def with_secrets(self, values: Mapping[str, str]) -> Plan:
        """The part of a node as its agent runs it. It must not be written or shown."""
        processes = tuple(
            replace(process, environment=reveal(process.environment, values))
            for process in self.processes
        )
        return replace(self, processes=processes)

    def to_json(self) -> str:
        """All of the plan; :func:`plan_from_json` reads it back without loss.

        A line for each node, file and process: for indentation Python has only a slow encoder.
        """
        fields = (f"{json.dumps(key)}: {_lines(item)}" for key, item in to_plain(self).items())
        return "{\n  " + ",\n  ".join(fields) + "\n}"


def _lines(value: Any) -> str:
    items = value if isinstance(value, list) and value else ()
    if not items:
        return json.dumps(value, ensure_ascii=False)
    lines = (f"    {json.dumps(item, ensure_ascii=False)}" for item in items)
    return "[\n" + ",\n".join(lines) + "\n  ]"


def files_of(placed: Iterable[tuple[str, str]], content: str) -> tuple[PlannedFile, ...]:
    """One text for several (node, path), of which none is there twice: once in the plan."""
    paths = dict(placed)
    if not paths:
        return ()
    usual = next(iter(paths.values()))
    others = {node: path for node, path in paths.items() if path != usual}
    return (PlannedFile(tuple(paths), usual, content, paths=others),)


def with_setup(setup: tuple[str, ...], argv: tuple[str, ...]) -> tuple[str, ...]:
    """The one place where a shell is needed: set_env.sh files can only be sourced."""
    if not setup:
        return argv
    return ("/bin/bash", "-c", "\n".join([*setup, 'exec "$@"']), "setup", *argv)


def plan_from_json(text: str | bytes) -> Plan:
    """The plan that :meth:`Plan.to_json` wrote. Raises :class:`PlanError`."""
    try:
        plan = json.loads(text)
        for file in plan["files"]:
            if "node" in file:  # written by 0.1
                file["nodes"] = [file["node"]]
        return from_plain(Plan, plan)
    except (ValueError, TypeError, KeyError, Mismatch, RecursionError) as error:
        raise PlanError(f"the plan can't be read: {error}") from None
