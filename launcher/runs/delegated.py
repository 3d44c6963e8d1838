"""Runs whose supervisor is on their first node: here is a copy, and who asks, asks there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher import errors
from launcher.core.checks.row import Row, RowState
from launcher.core.profile import model
from launcher.core.profile.model import Node, Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import InvalidError, LaunchError, NodeError
from launcher.ipc.channel import Message
from launcher.remote.file_copy import Progress
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.node_client import NodeClient
from launcher.store import atomic, run
from launcher.store.run import StartRequest

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


def node_of(root: Path) -> Node:
    """The node that the run is on, as it is reached from here. Raises `LaunchError`."""
    return run.load(root).profile.nodes[0]


def ask(root: Path, operation: str, progress: Progress | None = None, **fields: Any) -> Message:
    """One request about the run, on its node. Raises what was raised there."""

    def told(message: Message) -> None:
        if progress is not None and message.get("type") == "progress":
            progress(str(message["name"]), int(message["done"]), int(message["size"]))

    home = home_of(root)
    if home is None:
        raise LaunchError(f"{root.name} is no copy of a run elsewhere")
    client = NodeClient(node_of(root))
    try:
        return checked(client, client.call(operation, told, SILENT_S, root=home.root, **fields))
    finally:
        client.close()


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
        raise NodeError(node, text.removeprefix(f"{node}: "), hint)
    if issubclass(found, InvalidError):
        raise found(text, tuple(map(str, reply.get("problems", ()))), hint)
    raise found(text, hint)


def introduce(profile: Profile, confirm: ConfirmHost | None) -> str:
    """Connects to the first node, and from there to the others. -> the runs folder there.

    Raises `NodeError`.
    """
    client = NodeClient(profile.nodes[0], confirm)
    runs = profile.nodes[0].runs_directory
    try:
        asked = client.call("run_introduce", profile=profile.to_json(), runs_directory=runs)
        reply = checked(client, asked)
    finally:
        client.close()
    return str(reply["runs"])


def preflight(
    profile: Profile, sets: Sequence[tuple[str, str]], data_path: str, confirm: ConfirmHost | None
) -> tuple[Row, ...]:
    """What the first node sees of itself and of the others. Raises `NodeError`."""
    first = profile.nodes[0].label
    client = NodeClient(profile.nodes[0], confirm)
    fields = {"sets": [list(pair) for pair in sets], "data_path": data_path}
    try:
        asked = client.call("run_preflight", None, SILENT_S, profile=profile.to_json(), **fields)
        rows = checked(client, asked)["rows"]
    finally:
        client.close()
    text = "SSH connects; the supervisor will be there, so the others were asked from there"
    reached = Row("reachable", first, RowState.OK, text)
    return (reached, *(_seen_from(first, from_plain(Row, row)) for row in rows))


def _seen_from(first: str, row: Row) -> Row:
    """A login that fails fails from there: what works from here is no help."""
    if row.node == first or row.check not in LOGIN or row.state is not RowState.FAILED:
        return row
    hint = f"That is from {first}, where the supervisor will be: log in from {first} to it once."
    return replace(row, hint=f"{row.hint} {hint}".strip())


def start(
    root: Path,
    runs: str,
    info: RunInfo,
    profile: Profile,
    request: StartRequest,
    resume: str = "",
) -> None:
    """Makes the run on its first node, below `runs`, and the folder here that becomes its copy.

    `resume` is the path of a checkpoint there. Raises `LaunchError`; there is no folder here then,
    unless nobody knows whether it began there.
    """
    paths = run.create(root, info, profile, request)
    home = Home(profile.nodes[0].label, f"{runs}/{info.id}")
    atomic.write_file(paths.home, json.dumps(to_plain(home)) + "\n")
    client = NodeClient(profile.nodes[0])
    try:
        reply = client.call(
            "run_start",
            None,
            SILENT_S,
            profile=profile.to_json(),
            run=info.id,
            runs=runs,
            sets=[list(pair) for pair in request.settings],
            data_path=request.data_path,
            command=list(info.command),
            resume=resume,
        )
    except NodeError as error:
        text = error.message.removeprefix(f"{error.node}: ")
        hint = f"It may have begun there all the same: effnet-launch status {info.id}"
        raise NodeError(error.node, text, hint) from error
    finally:
        client.close()
    try:
        checked(client, reply)
    except LaunchError:
        shutil.rmtree(root, ignore_errors=True)  # it never began
        raise


def result_here(root: Path, result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A job's result with the paths of exported files as they are here."""
    home = home_of(root)
    if home is None or result is None:
        return result
    there, here = f"{home.root}/export/", f"{RunPaths(root).export}/"
    return {
        key: here + value.removeprefix(there)
        if isinstance(value, str) and value.startswith(there)
        else value
        for key, value in result.items()
    }


def resume_choice(
    root: Path, checkpoint: str, profile: Profile | None, sets: Sequence[tuple[str, str]]
) -> ResumeChoice:
    return _resume(root, "run_choice", checkpoint, profile, sets)


def resume(
    root: Path,
    checkpoint: str,
    profile: Profile | None,
    sets: Sequence[tuple[str, str]],
    data_path: str = "",
    progress: Progress | None = None,
) -> ResumeChoice:
    return _resume(root, "run_resume", checkpoint, profile, sets, data_path, progress)


def _resume(
    root: Path,
    operation: str,
    checkpoint: str,
    profile: Profile | None,
    sets: Sequence[tuple[str, str]],
    data_path: str = "",
    progress: Progress | None = None,
) -> ResumeChoice:
    """Raises what it raises there; `UsageError` for a profile with another first node."""
    if profile is not None:
        _refuse_other_first_node(root, profile)
    reply = ask(
        root,
        operation,
        progress,
        checkpoint=checkpoint,
        profile=None if profile is None else profile.to_json(),
        sets=[list(pair) for pair in sets],
        data_path=data_path,
    )
    return from_plain(ResumeChoice, reply["choice"])


def _refuse_other_first_node(root: Path, profile: Profile) -> None:
    old, new = node_of(root), profile.nodes[0]
    if model.is_elsewhere(profile) and (old.address, old.port) == (new.address, new.port):
        return
    raise errors.UsageError(
        f"{root.name} lives on {old.label}, which must stay the first node of its profile",
        f'Keep supervisor = "first-node" and {old.address} as the first of [[nodes]].',
    )
