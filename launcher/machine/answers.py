"""A node's answers, by topic: the same code in this process and behind `node_side` on a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from launcher.core.checks.facts import Peer, Question
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import LaunchError
from launcher.ipc.channel import Message
from launcher.machine import cuda_setup, devices, facts, peers, toolkit
from launcher.machine import facts as mending


def answer(request: Message) -> Any:
    """What `node_side` replies to a request of operation `preflight`. Raises `LaunchError`."""
    topic = TOPICS.get(str(request.get("topic")))
    try:
        if topic is None:
            raise Mismatch(f"no topic {request.get('topic')!r}")
        return to_plain(topic(from_plain(Question, request.get("question", {})), request))
    except (Mismatch, KeyError) as error:
        text = f"this version of effnet-tui does not understand the question: {error}"
        raise LaunchError(text, "Install the same version everywhere.") from error


def _peers(question: Question, request: Message) -> tuple[Peer, ...]:
    nodes = [(str(name), str(address)) for name, address in request["nodes"]]
    return peers.peers(question, str(request["config"]), str(request["known_hosts"]), nodes)


TOPICS: Mapping[str, Callable[[Question, Message], Any]] = {
    "machine": lambda question, request: facts.machine(question),
    "devices": lambda question, request: devices.devices(question),
    "peers": _peers,
    "backend": lambda question, request: toolkit.look(question),
    "cuda": lambda question, request: cuda_setup.prepare(),
    "folder": lambda question, request: mending.make_folder(str(request["path"])),
}
