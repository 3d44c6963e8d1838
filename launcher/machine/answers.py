"""The operations of checks, for this process and for `launcher.node`."""

from __future__ import annotations

from typing import TypeVar

from launcher.ipc import operations as op
from launcher.machine import cuda_setup, devices, facts, peers, toolkit

R = TypeVar("R")


def answer(request: op.Operation[R]) -> R:
    """Raises `LaunchError`, `OSError`."""
    reply: R = HANDLERS[type(request)](request)
    return reply


HANDLERS: op.Handlers = {
    op.CheckMachine: lambda request: facts.machine(request.question),
    op.CheckDevices: lambda request: devices.devices(request.question),
    op.CheckPeers: peers.peers,
    op.CheckBackend: lambda request: toolkit.backend(request.question),
    op.PrepareCuda: lambda request: cuda_setup.prepare(),
    op.MakeFolder: lambda request: facts.make_folder(request.path),
}
