"""Putting questions to one node: in this process, to another interpreter here, or through SSH."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

from launcher import programs
from launcher.core.checks.facts import MachineFacts, Peer, Question
from launcher.core.checks.toolkit_facts import Backend
from launcher.core.devices.model import Devices
from launcher.core.profile.model import Node
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import LaunchError, NodeError, NotInstalledError
from launcher.ipc.channel import Message
from launcher.machine.answers import answer
from launcher.remote.node_client import NodeClient, missing_module

T = TypeVar("T")
LIMIT_S = 120.0
PREPARE_LIMIT_S = 3600.0


class NodeProbe:
    """Puts questions to one node. Every method may take seconds and raises `NodeError`."""

    def __init__(self, node: Node, question: Question, client: NodeClient | None) -> None:
        self.node = node
        self.question = question
        self.client = client

    def machine(self) -> MachineFacts:
        return self._parsed(MachineFacts, self.query("machine"))

    def devices(self) -> Devices:
        return self._parsed(Devices, self.query("devices"))

    def backend(self) -> Backend:
        """What MindSpore finds there; loads libraries in a process of its own."""
        return self._parsed(Backend, self.query("backend"))

    def peers(
        self, config: str, known_hosts: str, nodes: list[tuple[str, str]]
    ) -> tuple[Peer, ...]:
        fields: dict[str, Any] = {"config": config, "known_hosts": known_hosts, "nodes": nodes}
        return tuple(self._parsed(Peer, item) for item in self.query("peers", **fields))

    def prepare_cuda(self) -> str:
        """Installs CUDA's libraries there. -> the env.sh to source. Takes minutes."""
        return str(self.query("cuda", PREPARE_LIMIT_S))

    def query(self, topic: str, limit_s: float = LIMIT_S, **fields: Any) -> Any:
        """The answer as plain values."""
        request = {"topic": topic, "question": to_plain(self.question), **fields}
        if self.client is not None:
            return self._facts(_ask_remote(self.client, request, limit_s))
        if _is_ours(self.node):
            try:
                return answer(request)
            except (LaunchError, OSError) as error:
                raise NodeError(self.node.label, str(error)) from error
        return self._facts(_ask_process(self.node, request, limit_s))

    def _facts(self, reply: Message) -> Any:
        if not reply.get("ok"):
            raise NodeError(
                self.node.label, str(reply.get("error", "it refused")), str(reply.get("hint", ""))
            )
        return reply.get("facts")

    def _parsed(self, cls: type[T], facts: Any) -> T:
        try:
            return from_plain(cls, facts)
        except Mismatch as error:
            raise NotInstalledError(
                self.node.label,
                f"it answers what this version does not understand: {error}",
                "Install the same version of effnet-tui there.",
                "launcher",
            ) from error


def _is_ours(node: Node) -> bool:
    """Whether a local node's interpreter is this process's own."""
    if not node.python:
        return True
    try:
        same = Path(node.python).samefile(sys.executable)
    except OSError:
        return False
    # Two environments may share the file that their links lead to.
    return same and Path(node.python).parent.absolute() == Path(sys.executable).parent


def _ask_remote(client: NodeClient, request: Message, limit_s: float) -> Message:
    stream, frames = client.open_stream("preflight", limit_s, **request)
    try:
        return client.reply(stream, frames)
    finally:
        stream.close()


def _ask_process(node: Node, request: Message, limit_s: float) -> Message:
    """The same through another interpreter of this machine."""
    argv = [node.python, "-m", programs.NODE]
    line = json.dumps({"mark": "-", "op": "preflight", **request}) + "\n"
    try:
        done = subprocess.run(
            argv,
            input=line,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            # Not where a folder `launcher` would be taken for an installed one.
            cwd="/",
        )
    except OSError as error:
        text = f"{node.python} cannot be run: {error.strerror or error}"
        raise NotInstalledError(node.label, text, "Set `python`.") from error
    except subprocess.TimeoutExpired as error:
        raise NodeError(node.label, f"{node.python} does not answer") from error
    for text in done.stdout.splitlines():
        if text.startswith('{"type":"reply"'):
            message: Message = json.loads(text)
            return message
    errors = done.stderr.strip().splitlines() or ["it said nothing"]
    text = f"{node.python}: {errors[-1]}"
    if missing := missing_module(done.stderr):
        raise NotInstalledError(node.label, text, "Install effnet-tui for it.", missing)
    raise NodeError(node.label, text)
