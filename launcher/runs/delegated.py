"""Runs that are on their first node, or on a login node of Slurm: the directory here is a copy."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from launcher import errors, programs
from launcher.cleanup import prune
from launcher.core.checks.expected import expected
from launcher.core.checks.row import Row, RowState
from launcher.core.plan.model import Plan, plan_from_json
from launcher.core.profile.home import home_of as home_node
from launcher.core.profile.model import Node, Profile, StartMethod
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest, ResumeRequest, Settings, StartRequest
from launcher.core.run.state import JobState
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import BusyError, InvalidError, LaunchError, NodeError, UsageError
from launcher.ipc import run_operations as op
from launcher.ipc.operations import CopyProgress, Message, Operation
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodeClient, NodePool, RefusedError
from launcher.runs.base import LEAVE_LIMIT_S, NextAttempt, Run
from launcher.store import atomic
from launcher.store import run as run_files
from launcher.store.atomic import Digest

R = TypeVar("R")

OnRow = Callable[[Row], object]

SILENT_S = 180.0
"""A start or a resume sends its first message earlier."""

LOGIN = frozenset({"reachable", "host-key", "user"})
"""Checks that depend on the machine that runs them."""

ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LaunchError) and not issubclass(kind, NodeError)
}


@dataclass(frozen=True)
class Home:
    """`home.json`: the node that the run is on, and its folder there."""

    node: str
    root: str


def home_of(root: Path) -> Home | None:
    """None for a local run."""
    try:
        return from_plain(Home, json.loads(RunPaths(root).home.read_text()))
    except (OSError, ValueError, Mismatch):
        return None


def call(client: NodeClient, operation: Operation[R], progress: Progress | None = None) -> R:
    """The reply. Raises the node's error as its own class."""

    def on_message(message: Message) -> None:
        if progress is not None and message.get("type") == "progress":
            at = from_plain(CopyProgress, message)
            progress(at.name, at.done, at.size)

    try:
        return client.call(operation, on_message, SILENT_S)
    except RefusedError as error:
        raise original(error) from error
    except Mismatch as error:
        raise NodeError(client.label, f"it sent a damaged message: {error}") from error


def original(error: RefusedError) -> LaunchError:
    """The error that was raised on the node."""
    refusal = error.refusal
    found = ERRORS.get(refusal.kind)
    if found is None:
        # It may be of another node, which the first one had called.
        return NodeError(refusal.node or error.node, refusal.error, refusal.hint)
    if issubclass(found, InvalidError):
        return found(refusal.error, refusal.problems, refusal.hint)
    return found(refusal.error, refusal.hint)


def node_of(profile: Profile) -> Node:
    """The node that the runs of a delegated profile are on."""
    return home_node(profile) or profile.nodes[0]


def introduce(profile: Profile, nodes: NodePool) -> str:
    """Connects to the first node, and from there to the others. -> its runs folder.

    Raises `NodeError`.
    """
    client, runs = nodes.client(node_of(profile)), node_of(profile).runs_directory
    return call(client, op.ConnectNodes(profile.to_json(), runs))


def preflight(
    profile: Profile, settings: Settings, data_path: str, nodes: NodePool, on_row: OnRow
) -> tuple[Row, ...]:
    """The rows that the first node, or the login node, finds. Raises `NodeError`."""
    first = node_of(profile).label
    client = nodes.client(node_of(profile))
    request = op.CheckNodes(profile.to_json(), data_path, tuple(settings), profile.secrets)
    is_slurm = profile.start_method is StartMethod.SLURM
    try:
        rows = call(client, request)
    except NodeError as error:
        if not is_slurm:
            raise
        failed = Row("reachable", first, RowState.FAILED, error.message, error.hint)
        others = (key for key in expected(profile) if key[0] != failed.check)
        text = f"{first} was not reached"
        return _told((failed, *(Row(*key, RowState.SKIPPED, text) for key in others)), on_row)
    text = "SSH connects. The supervisor will be here, so this node checked the others."
    if is_slurm:
        text = "SSH connects. The job will be submitted here, so this node asked Slurm."
    reached = Row("reachable", first, RowState.OK, text)
    return _told((reached, *(_seen_from(first, row) for row in rows)), on_row)


def doctor(profile: Profile, nodes: NodePool, on_row: OnRow) -> tuple[Row, ...]:
    """What the login node finds about Slurm. Raises `NodeError`, `LaunchError`."""
    rows = call(nodes.client(node_of(profile)), op.ExamineNodes(profile.to_json()))
    return _told(rows, on_row)


def plan(profile: Profile, request: StartRequest, nodes: NodePool) -> Plan:
    """What a start would do on the run's node. Raises `NodeError`, `LaunchError`."""
    operation = op.PlanRun(profile.to_json(), request)
    return plan_from_json(call(nodes.client(node_of(profile)), operation))


def _told(rows: tuple[Row, ...], on_row: OnRow) -> tuple[Row, ...]:
    for row in rows:
        on_row(row)
    return rows


def _seen_from(first: str, row: Row) -> Row:
    """A failed login was from the first node, where a login from here does not help."""
    if row.node == first or row.check not in LOGIN or row.state is not RowState.FAILED:
        return row
    hint = f"The supervisor will be on {first}: log in from {first} to this node once."
    return replace(row, hint=f"{row.hint} {hint}".strip())


def start(root: Path, runs: str, info: RunInfo, profile: Profile, nodes: NodePool) -> None:
    """Makes the run on its first node, below `runs`, and the folder here that becomes its copy.

    Raises `LaunchError`; the folder here stays only if the run may have started there.
    """
    # The values are kept where the supervisor is.
    paths = run_files.create(root, info, profile.without_secrets())
    home = Home(node_of(profile).label, f"{runs}/{info.id}")
    atomic.write_file(paths.home, json.dumps(to_plain(home)) + "\n")
    client = nodes.client(node_of(profile))
    operation = op.StartRun(
        profile.to_json(), info.id, runs, info.start, tuple(info.command), profile.secrets
    )
    try:
        client.call(operation, None, SILENT_S)
    except RefusedError as error:
        run_files.discard(root)
        raise original(error) from error
    except NodeError as error:
        hint = f"It may have started there anyway: effnet-launch status {info.id}"
        raise NodeError(error.node, error.message, hint) from error


class DelegatedRun(Run):
    """`launcher.runs.follower` holds the lock of the copy."""

    program: ClassVar[str] = programs.FOLLOWER
    program_log: ClassVar[str] = "follower.log"  # supervisor.log is that of the supervisor there
    _digests: ClassVar[dict[Path, tuple[Digest, ...]]] = {}
    """What the run's node has digested for this process: for a card, then for the resume."""

    def __init__(self, root: Path, home: Home) -> None:
        super().__init__(root)
        self.home = home

    @property
    def node(self) -> Node:
        """The node that has the run. Raises `LaunchError`."""
        return node_of(self.load().profile)

    def next_attempt(self, request: ResumeRequest, profile: Profile | None) -> NextAttempt:
        before = self.load().profile
        old = node_of(before)
        if profile is not None:
            new = home_node(profile)
            if new is None or (old.address, old.port) != (new.address, new.port):
                keep = f'supervisor = "first-node" and {old.address} as the first of [[nodes]]'
                if before.start_method is StartMethod.SLURM:
                    keep = f"{old.address} as the address of [slurm.login_node]"
                raise UsageError(
                    f"{self.id} is on {old.label}, and must stay there", f"Keep {keep}."
                )
        return super().next_attempt(request, profile)

    def check_may_resume(self) -> None:
        self.connect()  # the copy may be old
        super().check_may_resume()

    def resume_choice(self, attempt: NextAttempt) -> ResumeChoice:
        found = self.call(self._on_resume(op.ChooseCheckpoint, attempt))
        self._digests[self.root] = found.digests
        return found.choice

    def resume(
        self, attempt: NextAttempt, nodes: NodePool, progress: Progress | None = None
    ) -> ResumeChoice:
        choice = self.call(self._on_resume(op.ResumeRun, attempt), progress, nodes)
        self.connect(is_new=True)
        return choice

    def start_job(self, request: JobRequest, progress: Progress | None = None) -> str:
        for value, flag in ((request.file_name, "--name"), (request.model, "--model")):
            if os.sep in value:
                raise UsageError(
                    f"{flag} must be a file name without a folder: the run is on {self.home.node}",
                    "Exported files are copied into the run directory here, below export/.",
                )
        job = self.call(op.StartRunJob(self.home.root, request), progress)
        self.connect(is_new=True)
        return job

    def stop_job(self, job: str) -> None:
        self.call(op.StopRunJob(self.home.root, job))

    def follow_jobs(self) -> tuple[str, ...]:
        """The node does that while its run is copied."""
        if any(job.finished_s is None for job in self.state().jobs) and not self.is_supervised:
            with contextlib.suppress(BusyError):
                self.spawn()
        return ()

    def is_job_followed(self, job: str) -> bool:
        return self.is_supervised

    def job_result(self, state: JobState) -> JobState:
        if state.result is None:
            return state
        there, here = f"{self.home.root}/export/", f"{self.paths.export}/"
        result = {
            key: here + value.removeprefix(there)
            if isinstance(value, str) and value.startswith(there)
            else value
            for key, value in state.result.items()
        }
        return replace(state, result=result)

    def delete(self, nodes: NodePool, *, here_only: bool = False) -> None:
        if not here_only:
            self.call(op.DeleteRun(self.home.root), nodes=nodes)
        prune.remove(self.root)

    def end_warm(self) -> bool:
        was_there = self.call(op.EndWarm(self.home.root))
        self.connect(is_new=True)
        return was_there

    def set_note(self, note: str) -> None:
        self.call(op.SetNote(self.home.root, note))
        self.connect(is_new=True)

    def connect(self, *, is_new: bool = False) -> None:
        """`is_new`: what was changed there just now comes here, though the run may be over."""
        deadline, sights = time.monotonic() + LEAVE_LIMIT_S, 0
        while is_new or not self.state().status.is_over:
            if not self.is_supervised:
                with contextlib.suppress(BusyError):
                    self.spawn()
                return
            sights += self._is_living()
            if not is_new or sights > 2 or time.monotonic() > deadline:
                return
            # It may be about to exit because the run was over; that may be on its way here.
            time.sleep(0.2)

    def _is_living(self) -> bool:
        """Whether there is more to follow, by what is known here."""
        state = self.state()
        return not state.status.is_over or any(job.finished_s is None for job in state.jobs)

    def ensure_supervised(self) -> bool:
        super().ensure_supervised()
        return False  # the supervisor had not died: only the copy was not followed

    def call(
        self,
        operation: Operation[R],
        progress: Progress | None = None,
        nodes: NodePool | None = None,
    ) -> R:
        """One operation on the run's node. Raises what was raised there."""
        with contextlib.nullcontext(nodes) if nodes is not None else NodePool() as pool:
            return call(pool.client(self.node), operation, progress)

    def _on_resume(self, kind: type[op.OnResume[R]], attempt: NextAttempt) -> op.OnResume[R]:
        """The JSON of an edited profile has no secrets: they are sent beside it."""
        edited = attempt.profile
        return kind(
            self.home.root,
            attempt.request,
            None if edited is None else edited.to_json(),
            {} if edited is None else edited.secrets,
            self._digests.get(self.root, ()),
        )
