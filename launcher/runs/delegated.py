"""Runs whose supervisor is on their first node: here is a copy, and that node is asked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from launcher import errors, programs
from launcher.cleanup import prune
from launcher.core.checks.row import Row, RowState
from launcher.core.profile import model
from launcher.core.profile.model import Node, Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.fold import JobState
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest, ResumeRequest, Settings
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import BusyError, InvalidError, LaunchError, NodeError, UsageError
from launcher.ipc.channel import Message
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodeClient, NodePool
from launcher.runs.base import LEAVE_LIMIT_S, Preflight, Run, edited
from launcher.store import atomic
from launcher.store import run as run_files

SILENT_S = 180.0
"""More than a start or a resume takes until it says something."""

LOGIN = frozenset({"reachable", "host-key", "user"})
"""Checks that depend on who asks."""

ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LaunchError) and kind is not NodeError
}


@dataclass(frozen=True)
class Home:
    """`home.json`: the node that the run is on, and its folder there."""

    node: str
    root: str


def home_of(root: Path) -> Home | None:
    """None for a run whose supervisor is here."""
    try:
        return from_plain(Home, json.loads(RunPaths(root).home.read_text()))
    except (OSError, ValueError, Mismatch):
        return None


def checked(client: NodeClient, reply: Message) -> Message:
    """The reply. Raises the error that it tells of, as if it were from here."""
    if reply.get("ok"):
        return reply
    kind, text = str(reply.get("kind", "")), str(reply.get("error", "it refused"))
    hint = str(reply.get("hint", ""))
    found = ERRORS.get(kind)
    if found is None:
        # It may be of another node, which the first one has asked.
        node = str(reply.get("node") or client.label)
        raise NodeError(node, text, hint)
    if issubclass(found, InvalidError):
        raise found(text, tuple(map(str, reply.get("problems", ()))), hint)
    raise found(text, hint)


def introduce(profile: Profile, nodes: NodePool) -> str:
    """Connects to the first node, and from there to the others. -> the runs folder there.

    Raises `NodeError`.
    """
    client, runs = nodes.client(profile.nodes[0]), profile.nodes[0].runs_directory
    reply = client.call("run_introduce", profile=profile.to_json(), runs_directory=runs)
    return str(checked(client, reply)["runs"])


def preflight(
    profile: Profile, settings: Settings, data_path: str, nodes: NodePool
) -> tuple[Row, ...]:
    """What the first node sees of itself and of the others. Raises `NodeError`."""
    first = profile.nodes[0].label
    client = nodes.client(profile.nodes[0])
    fields = {"settings": to_plain(settings), "data_path": data_path}
    reply = client.call("run_preflight", None, SILENT_S, profile=profile.to_json(), **fields)
    rows = checked(client, reply)["rows"]
    text = "SSH connects; the supervisor will be there, so the others were asked from there"
    reached = Row("reachable", first, RowState.OK, text)
    return (reached, *(_seen_from(first, from_plain(Row, row)) for row in rows))


def _seen_from(first: str, row: Row) -> Row:
    """A login that fails fails from there: what works from here is no help."""
    if row.node == first or row.check not in LOGIN or row.state is not RowState.FAILED:
        return row
    hint = f"That is from {first}, where the supervisor will be: log in from {first} to it once."
    return replace(row, hint=f"{row.hint} {hint}".strip())


def start(root: Path, runs: str, info: RunInfo, profile: Profile, nodes: NodePool) -> None:
    """Makes the run on its first node, below `runs`, and the folder here that becomes its copy.

    Raises `LaunchError`; there is no folder here then, unless nobody knows whether it began there.
    """
    paths = run_files.create(root, info, profile)
    home = Home(profile.nodes[0].label, f"{runs}/{info.id}")
    atomic.write_file(paths.home, json.dumps(to_plain(home)) + "\n")
    client = nodes.client(profile.nodes[0])
    try:
        reply = client.call(
            "run_start",
            None,
            SILENT_S,
            profile=profile.to_json(),
            run=info.id,
            runs=runs,
            request=to_plain(info.start),
            command=list(info.command),
        )
    except NodeError as error:
        hint = f"It may have started there anyway: effnet-launch status {info.id}"
        raise NodeError(error.node, error.message, hint) from error
    try:
        checked(client, reply)
    except LaunchError:
        shutil.rmtree(root, ignore_errors=True)  # it never began
        raise


class DelegatedRun(Run):
    """A run whose supervisor is on its first node; the folder here is a copy.

    `launcher.runs.follower` holds its lock here.
    """

    program: ClassVar[str] = programs.FOLLOWER
    program_log: ClassVar[str] = "follower.log"  # supervisor.log is that of the supervisor there

    def __init__(self, root: Path, home: Home) -> None:
        super().__init__(root)
        self.home = home

    @property
    def node(self) -> Node:
        """The node of the supervisor, as it is reached from here. Raises `LaunchError`."""
        return self.load().profile.nodes[0]

    def resume_choice(self, request: ResumeRequest, profile: Profile | None) -> ResumeChoice:
        return self._resume("run_choice", request, profile)

    def resume(
        self,
        request: ResumeRequest,
        profile: Profile | None,
        nodes: NodePool,
        progress: Progress | None = None,
        preflight: Preflight | None = None,
    ) -> ResumeChoice:
        # A run that still trains is refused by its node.
        if preflight is not None and self.state().status.is_over:
            run = edited(self.load(), request, profile)
            preflight(run.profile, run.request.settings, run.request.data_path)
        choice = self._resume("run_resume", request, profile, progress, nodes)
        self.connect(is_new=True)
        return choice

    def start_job(self, request: JobRequest, progress: Progress | None = None) -> str:
        for value, flag in ((request.file_name, "--name"), (request.model, "--model")):
            if os.sep in value:
                raise UsageError(
                    f"{flag} must be a file name without a folder: the run is on {self.home.node}",
                    "Exported files are copied into the run directory here, below export/.",
                )
        job = str(self.call("run_job", progress, request=to_plain(request))["job"])
        self.connect(is_new=True)
        return job

    def stop_job(self, job: str) -> None:
        self.call("run_job_stop", job=job)

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

    def delete(self, *, here_only: bool = False) -> None:
        if not here_only:
            self.call("run_delete")
        prune.remove(self.root)

    def set_note(self, note: str) -> None:
        self.call("run_note", note=note)
        self.connect(is_new=True)

    def connect(self, *, is_new: bool = False) -> None:
        deadline = time.monotonic() + LEAVE_LIMIT_S
        while is_new or not self.state().status.is_over:
            if not self.is_supervised:
                with contextlib.suppress(BusyError):
                    self.spawn()
                return
            if not is_new or time.monotonic() > deadline:
                return
            # It may be about to leave, as all was over before.
            time.sleep(0.2)

    def ensure_supervised(self) -> bool:
        super().ensure_supervised()
        return False  # the supervisor has not died: only this machine was away from it

    def call(
        self,
        operation: str,
        progress: Progress | None = None,
        nodes: NodePool | None = None,
        **fields: Any,
    ) -> Message:
        """One request about the run, on its node. Raises what was raised there."""

        def on_message(message: Message) -> None:
            if progress is not None and message.get("type") == "progress":
                progress(str(message["name"]), int(message["done"]), int(message["size"]))

        with contextlib.nullcontext(nodes) if nodes is not None else NodePool() as pool:
            client = pool.client(self.node)
            reply = client.call(operation, on_message, SILENT_S, root=self.home.root, **fields)
            return checked(client, reply)

    def _resume(
        self,
        operation: str,
        request: ResumeRequest,
        profile: Profile | None,
        progress: Progress | None = None,
        nodes: NodePool | None = None,
    ) -> ResumeChoice:
        """Raises what it raises there; `UsageError` for a profile with another first node."""
        if profile is not None:
            self._refuse_other_first_node(profile)
        text = None if profile is None else profile.to_json()
        reply = self.call(operation, progress, nodes, request=to_plain(request), profile=text)
        return from_plain(ResumeChoice, reply["choice"])

    def _refuse_other_first_node(self, profile: Profile) -> None:
        old, new = self.node, profile.nodes[0]
        if model.is_elsewhere(profile) and (old.address, old.port) == (new.address, new.port):
            return
        raise UsageError(
            f"the supervisor of {self.id} is on {old.label}, which must stay the first node",
            f'Keep supervisor = "first-node" and {old.address} as the first of [[nodes]].',
        )
