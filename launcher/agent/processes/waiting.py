"""Agents of this machine that wait for the next attempt, with what has imported for its ranks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from launcher.core.messages import Accepted, TakeOver
from launcher.ipc.endpoint import EndpointAddress, read_address
from launcher.process import ownership
from launcher.process.log import log_line

ANSWER_S = 5.0


def agents_of(root: Path, token: str, node: str = "*") -> Iterator[tuple[Path, EndpointAddress]]:
    """Those of a run, newest first. `token`: as in a `Claim`; `node`: the name of their files."""
    for file in sorted(root.glob(f"attempts/*/agents/{node}.json"), reverse=True):
        address = read_address(file)
        if address is None or not (address.warm_until_s and address.is_alive):
            continue
        # The file of a copied run directory has that of another run's agent.
        if ownership.is_watcher(address.pid, token):
            yield file, address


def take_over(address: EndpointAddress, order: TakeOver) -> bool:
    """Whether the agent goes on as that of the attempt which `order` names."""
    with contextlib.suppress(OSError):
        channel = address.connect()
        try:
            channel.send(order)
            return any(isinstance(reply, Accepted) for reply in channel.wait(ANSWER_S))
        except TimeoutError:
            log_line(f"agent {address.pid} waits, and does not answer: it is ended")
            # It must not follow the order later. Its guard ends what it has.
            process = ownership.read_process(address.pid)
            if process is not None and process.start_time == address.start_ticks:
                ownership.send_signal(process, signal.SIGKILL)
        finally:
            channel.close()
    return False
