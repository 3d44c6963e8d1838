"""Operations of checks on one node: in this process, in another interpreter here, or over SSH."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from launcher import programs
from launcher.core.checks.facts import Question
from launcher.core.checks.questions import questions
from launcher.core.checks.row import Row
from launcher.core.profile.model import Node, Profile
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import parse_object
from launcher.errors import LaunchError, NodeError, NotInstalledError
from launcher.ipc import operations as op
from launcher.machine.answers import answer
from launcher.process import tools
from launcher.remote.node_client import NodeClient, NodePool, no_reply, read_reply, request_line
from launcher.remote.ssh_target import MAX_CONNECTING

R = TypeVar("R")
LIMIT_S = 120.0

OnRow = Callable[[Row], object]
OnLine = Callable[[str], object]
"""Gets a line for each thing that a fix did, or could not do."""


class NodeProbe:
    """Sends the operations of checks to one node."""

    def __init__(self, node: Node, question: Question, client: NodeClient | None) -> None:
        self.node = node
        self.question = question
        self.client = client

    def call(self, operation: op.Operation[R], limit_s: float = LIMIT_S) -> R:
        """May take seconds. Raises `NodeError`."""
        if self.client is not None:
            return self.client.call(operation, silent_s=limit_s)
        if not _is_own_interpreter(self.node):
            return _call_process(self.node, operation, limit_s)
        try:
            return answer(operation)
        except (LaunchError, OSError) as error:
            raise NodeError(self.node.label, str(error)) from error


def probes_of(
    profile: Profile, nodes: NodePool, runs: str = "", data_path: str = ""
) -> list[NodeProbe]:
    """One for each node. `runs`: the runs folder of this machine."""
    clients = nodes.clients_of(profile)
    found = zip(profile.nodes, questions(profile, runs, data_path), strict=True)
    return [NodeProbe(node, question, clients.get(node.label)) for node, question in found]


def at_once(call: Callable[[NodeProbe], R], probes: Sequence[NodeProbe]) -> list[R]:
    """Calls it for all nodes, in threads. -> the results in the order of the nodes."""
    with ThreadPoolExecutor(min(MAX_CONNECTING, len(probes))) as pool:
        return list(pool.map(call, probes))


def _is_own_interpreter(node: Node) -> bool:
    """Whether a local node's interpreter is this process's own."""
    if not node.python:
        return True
    try:
        python = Path(node.python).expanduser()
        same = python.samefile(sys.executable)
    except OSError:
        return False
    # Two environments may share the file that their links lead to.
    return same and python.parent.absolute() == Path(sys.executable).parent


def _call_process(node: Node, operation: op.Operation[R], limit_s: float) -> R:
    """The same through another interpreter of this machine."""
    argv = programs.command(programs.NODE, node.python)
    try:
        # Not a folder where another package `launcher` may be.
        done = tools.run(argv, None, limit_s, stdin=request_line(operation, "-"), folder="/")
    except TimeoutError as error:
        raise NodeError(node.label, str(error)) from error
    except OSError as error:
        text = f"its interpreter cannot be run: {error}"
        raise NotInstalledError(node.label, text, "Set `python`.") from error
    for text in done.stdout.splitlines():
        if text.startswith('{"type":"reply"'):
            with contextlib.suppress(Mismatch):
                return read_reply(node.label, operation, parse_object(text))
    raise no_reply(node, done.stderr.strip(), "it sent no reply that can be read")
