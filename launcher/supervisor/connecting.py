"""Connections to agents that are made in threads: a supervisor never waits for the network."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future

from launcher.errors import ConnectingError, NodeError
from launcher.ipc.channel import Channel
from launcher.process.in_thread import in_thread

AGAIN_S = 1.0


class Connecting:
    """To the agent of one node, one try at a time."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._pending: Future[Channel] | None = None
        self._again_at = 0.0

    def poll(self, work: Callable[[], Channel]) -> Channel:
        """Never blocks: the first call begins, a later one has the result. Raises `NodeError`."""
        if self._pending is None:
            if time.monotonic() >= self._again_at:
                self._pending = in_thread(work)
            raise ConnectingError(self._node, "not connected")
        if not self._pending.done():
            raise ConnectingError(self._node, "still connecting")
        pending, self._pending = self._pending, None
        self._again_at = time.monotonic() + AGAIN_S
        return pending.result()

    def give_up(self) -> None:
        """Waits for the try that is under way, and closes what it made."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with contextlib.suppress(NodeError):
                pending.result().close()
