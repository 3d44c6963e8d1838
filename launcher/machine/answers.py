"""A node's facts for checks: the same code in this process and behind `launcher.node`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from launcher.ipc import operations as op
from launcher.machine import cuda_setup, devices, facts, peers, toolkit

R = TypeVar("R")


def answer(request: op.Operation[R]) -> R:
    """Raises `LaunchError`, `OSError`."""
    reply: R = HANDLERS[type(request)](request)
    return reply


def _peers(request: op.CheckPeers) -> Any:
    return peers.peers(request.question, request.config, request.known_hosts, request.nodes)


HANDLERS: Final[Mapping[type[op.Operation[Any]], Callable[[Any], Any]]] = {
    op.CheckMachine: lambda request: facts.machine(request.question),
    op.CheckDevices: lambda request: devices.devices(request.question),
    op.CheckPeers: _peers,
    op.CheckBackend: lambda request: toolkit.look(request.question),
    op.PrepareCuda: lambda request: cuda_setup.prepare(),
    op.MakeFolder: lambda request: facts.make_folder(request.path),
}
