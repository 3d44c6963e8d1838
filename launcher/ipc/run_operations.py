"""What a client asks of the node that has a run's supervisor; ``profile`` is JSON there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from launcher.core.checks.row import Row
from launcher.core.profile.secrets import Secrets
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.requests import JobRequest, ResumeRequest, StartRequest
from launcher.ipc.operations import Known, Operation, R
from launcher.store.atomic import Digest


@dataclass(frozen=True)
class Silent:
    """In an `alive` message of `FollowRun`: the supervisor does not answer, for how long."""

    pid: int
    silent_s: float


@dataclass(frozen=True)
class OnRun(Operation[R]):
    """``root`` is the run's folder on the node."""

    root: str


@dataclass(frozen=True)
class ConnectNodes(Operation[str], kind="connect_nodes"):
    """The reply is the runs folder."""

    profile: str
    runs_directory: str


@dataclass(frozen=True)
class CheckNodes(Operation[tuple[Row, ...]], kind="check_nodes"):
    profile: str
    data_path: str
    settings: tuple[tuple[str, str], ...]
    secrets: Secrets = field(default_factory=dict)


@dataclass(frozen=True)
class PlanRun(Operation[str], kind="plan_run"):
    """The reply is the plan as JSON."""

    profile: str
    request: StartRequest


@dataclass(frozen=True)
class ExamineNodes(Operation[tuple[Row, ...]], kind="examine_nodes"):
    """The rows of the doctor, for a profile of Slurm."""

    profile: str


@dataclass(frozen=True)
class StartRun(Operation[None], kind="start_run"):
    profile: str
    run: str
    runs: str
    request: StartRequest
    command: tuple[str, ...]
    secrets: Secrets = field(default_factory=dict)


@dataclass(frozen=True)
class SendToRun(OnRun[dict[str, Any]], kind="send_to_run"):
    """``message`` is for the run's supervisor; the reply is its reply."""

    message: dict[str, Any]


@dataclass(frozen=True)
class OnResume(OnRun[R]):
    request: ResumeRequest
    profile: str | None
    secrets: Secrets = field(default_factory=dict)
    digests: tuple[Digest, ...] = ()
    """Those that an earlier operation had to make: their files are not read again."""


@dataclass(frozen=True)
class Chosen:
    """A choice, and what was digested for it."""

    choice: ResumeChoice
    digests: tuple[Digest, ...]


class ChooseCheckpoint(OnResume[Chosen], kind="choose_checkpoint"): ...


class ResumeRun(OnResume[ResumeChoice], kind="resume_run"): ...


@dataclass(frozen=True)
class StartRunJob(OnRun[str], kind="start_run_job"):
    request: JobRequest


@dataclass(frozen=True)
class StopRunJob(OnRun[None], kind="stop_run_job"):
    job: str


@dataclass(frozen=True)
class SetNote(OnRun[None], kind="set_note"):
    note: str


class EndWarm(OnRun[bool], kind="end_warm"):
    """What a failed run keeps for its next attempt. The reply: whether there was anything."""


class DeleteRun(OnRun[None], kind="delete_run"): ...


@dataclass(frozen=True)
class FollowRun(OnRun[None], kind="follow_run"):
    """The reply comes when nothing of the run is alive."""

    known: Known
