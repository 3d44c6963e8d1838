"""Connections to agents that are made in threads: a supervisor never waits for the network."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from launcher.errors import ConnectingError, NodeError
from launcher.ipc.channel import Channel

AGAIN_S = 1.0
R = TypeVar("R")


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


def in_thread(work: Callable[[], R]) -> Future[R]:
    """Calls `work` without blocking the supervisor. All its errors are `NodeError`s."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except NodeError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 a thread's error must reach its supervisor
            future.set_exception(NodeError("", f"{type(error).__name__}: {error}"))

    threading.Thread(target=run, name="node", daemon=True).start()
    return future
