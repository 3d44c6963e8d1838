"""What a client or a supervisor can ask of a node: one record per operation of `launcher.node`.

The parameter of `Operation` is the type of its reply. `run_operations` has those of a run whose
supervisor is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

from launcher.core.checks.facts import MachineFacts, Peer, Question
from launcher.core.checks.toolkit_facts import Backend
from launcher.core.devices.model import Devices
from launcher.core.run.checkpoints import CheckpointFacts
from launcher.core.text.records import Record
from launcher.process.shared_memory import Segment
from launcher.store.atomic import Content
from launcher.store.job import Job

R = TypeVar("R")

Message = dict[str, Any]
"""A request or reply, as it is sent."""

Known = Mapping[str, tuple[int, int]]
"""Name -> its length on this side, and its time of change in ns (0 for files that grow)."""


class Operation(Record, Generic[R]):
    """A request to a node."""

    @classmethod
    def reply_type(cls) -> Any:
        return get_args(cls.__orig_bases__[0])[0]  # type: ignore[attr-defined]


Handlers = Mapping[type[Operation[Any]], Callable[[Any], Any]]
"""What a node does for a request, by the request's class."""


@dataclass(frozen=True)
class Refusal:
    """The error of an operation. ``node``: the one that it happened on, where that is another."""

    error: str
    hint: str = ""
    kind: str = "LaunchError"
    """Its class in `launcher.errors`."""
    node: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopyProgress:
    """Sent before a reply, as a `progress` message. ``done`` and ``size`` are bytes of a file."""

    name: str
    done: int
    size: int


@dataclass(frozen=True)
class OnPath(Operation[R]):
    path: str


@dataclass(frozen=True)
class OnJob(Operation[R]):
    folder: str


# -- for a plan


@dataclass(frozen=True)
class NodeAnswer:
    """``port``: free on the address that was asked about, else 0. `~` is expanded in paths."""

    cpus: tuple[int, ...]
    runs_directory: str
    port: int
    device_ips: tuple[tuple[int, str], ...]
    python: str = ""


@dataclass(frozen=True)
class GetFacts(Operation[NodeAnswer], kind="facts"):
    runs_directory: str = ""
    master: str = ""
    devices: tuple[int, ...] = ()
    python: str = ""


# -- agents and files of an attempt


@dataclass(frozen=True)
class CopyRequest:
    """What `FileCopy` has; ``witness`` is a file that the node sees when both share the folder."""

    known: Known
    witness: str


@dataclass(frozen=True)
class AttemptFolder:
    """The node's part of an attempt. ``root`` is the run's folder there."""

    root: str
    node: str
    attempt: int
    token: str


@dataclass(frozen=True)
class OnAttempt(Operation[R]):
    attempt: AttemptFolder
    copy: CopyRequest


@dataclass(frozen=True)
class Launch(OnAttempt[None], kind="launch"):
    """After the reply the stream is the agent's channel. ``files``: path, content, mode."""

    files: tuple[tuple[str, str, int], ...] = ()


class Connect(OnAttempt[None], kind="connect"):
    """After the reply the stream is the agent's channel."""


class Sweep(OnAttempt[tuple[int, ...]], kind="sweep"):
    """The reply has the processes that are left."""


# -- checkpoints and other files


class FindCheckpoints(OnPath[tuple[CheckpointFacts, ...]], kind="find_checkpoints"): ...


class MatchFiles(OnPath[tuple[CheckpointFacts, ...]], kind="match_files"):
    """``path`` is a glob."""


class ReadCheckpoint(OnPath[CheckpointFacts], kind="read_checkpoint"): ...


class DigestFile(OnPath[Content | None], kind="digest_file"): ...


class ReadFile(OnPath[None], kind="read_file"):
    """The content comes before the reply, as messages with `data`."""


@dataclass(frozen=True)
class WriteFile(Operation[None], kind="write_file"):
    """The content follows the request."""

    path: str
    content: Content


class ListFiles(OnPath[tuple[str, ...]], kind="list_files"): ...


@dataclass(frozen=True)
class KeepCopies(OnPath[None], kind="keep_copies"):
    names: tuple[str, ...]


# -- jobs


@dataclass(frozen=True)
class StartJob(OnJob[None], kind="start_job"):
    """``secrets``: the values that the job's environment leaves out."""

    job: Job
    token: str
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FollowJob(OnJob[int | None], kind="follow_job"):
    """The reply is the exit code, null where it is unknown."""

    copy: CopyRequest


class StopJob(OnJob[None], kind="stop_job"): ...


class ClearJob(OnJob[None], kind="clear_job"): ...


# -- jobs that another launcher started


@dataclass(frozen=True)
class WatchLogs(OnPath[None], kind="watch_logs"):
    """Sends `file` and `job` messages until the client leaves. ``known``: name -> length there."""

    known: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WatchedFiles:
    """In a `job` message: the logs by the names under which they are sent, and who writes them."""

    launcher: str
    names: tuple[str, ...]
    writers: Mapping[str, tuple[int, ...]]
    sees_writers: bool


def names_of(attempts: Sequence[Mapping[int, Sequence[str]]]) -> dict[str, str]:
    """The name under which each log of a job is sent: attempt, rank and number of the file."""
    return {
        f"{number}/{rank}/{at}.log": path
        for number, ranks in enumerate(attempts)
        for rank, paths in ranks.items()
        for at, path in enumerate(paths)
    }


# -- what is left on a node


@dataclass(frozen=True)
class KnownRun:
    """A run whose leftovers may be ended. `root`: its folder on the machine that is cleaned.

    `token`: the first part of its processes' tokens; those of earlier versions have `run` there.
    """

    run: str
    root: str
    is_over: bool
    token: str


@dataclass(frozen=True)
class Leftover:
    """One leftover. `kind`: process, agent, segment, file or job; a pid only for the first two.

    `job`: Slurm's number of a job in its queue.
    """

    kind: str
    what: str
    run: str = ""
    pid: int = 0
    start_ticks: int = 0
    token: str = ""
    segment: Segment | None = None
    job: str = ""


@dataclass(frozen=True)
class Leftovers:
    """What is left on a machine, and why not all of it was asked."""

    strays: tuple[Leftover, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class FindLeftovers(Operation[tuple[Leftover, ...]], kind="find_leftovers"):
    runs: tuple[KnownRun, ...]


@dataclass(frozen=True)
class EndLeftovers(Operation[tuple[Leftover, ...]], kind="end_leftovers"):
    """Ends those of ``leftovers`` that are still found. The reply has what is there afterwards."""

    runs: tuple[KnownRun, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True)
class FindAtLogin(Operation[Leftovers], kind="find_at_login"):
    """Of all runs of the user there, as `clean --here` there. `runs`: their folder, or empty."""

    runs: str


@dataclass(frozen=True)
class EndAtLogin(Operation[Leftovers], kind="end_at_login"):
    """Ends those of ``leftovers`` that are still found. The reply has what is there afterwards."""

    runs: str
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True)
class RemoveRun(Operation[None], kind="remove_run"):
    """Only the folder on this node. `token`: the first part of its processes' tokens."""

    root: str
    run: str
    token: str


# -- checks


@dataclass(frozen=True)
class OnQuestion(Operation[R]):
    question: Question


class CheckMachine(OnQuestion[MachineFacts], kind="check_machine"): ...


class CheckDevices(OnQuestion[Devices], kind="check_devices"): ...


class CheckBackend(OnQuestion[Backend], kind="check_backend"): ...


@dataclass(frozen=True)
class CheckPeers(OnQuestion[tuple[Peer, ...]], kind="check_peers"):
    """``nodes``: names and addresses."""

    config: str
    known_hosts: str
    nodes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PrepareCuda(Operation[str], kind="prepare_cuda"):
    """Installs CUDA's libraries. The reply is the env.sh to source."""


class MakeFolder(OnPath[str], kind="make_folder"):
    """The reply is its whole path."""
