"""Following something on a node: a thread that connects again when the connection breaks."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from launcher.ipc.operations import Operation
from launcher.remote.connection import Stream
from launcher.remote.node_client import Call, NodeClient

R = TypeVar("R")

SILENT_S = 8.0
PING_S = 1.0


class NodeFollower(ABC):
    """Follows until `is_over`. The owner starts the thread and calls `ping` several times a second:
    `launcher.node` ends when it receives nothing.
    """

    def __init__(self, client: NodeClient) -> None:
        self.is_over = False
        self.thread = threading.Thread(target=self.run, name="follow", daemon=True)
        self._client = client
        self._stream: Stream | None = None
        self._pinged = 0.0

    def run(self) -> None:
        while not self.is_over:
            self.follow()

    @abstractmethod
    def follow(self) -> None:
        """Over one connection, until all is over or the connection breaks."""

    def ping(self) -> None:
        stream, now = self._stream, time.monotonic()
        if stream is not None and now - self._pinged >= PING_S:
            self._pinged = now
            with contextlib.suppress(OSError):
                stream.write(b"\n")

    @contextlib.contextmanager
    def opened(self, operation: Operation[R]) -> Iterator[Call[R]]:
        """Raises `NodeError`."""
        with self._client.open(operation, SILENT_S) as call:
            self._stream = call.stream
            try:
                yield call
            finally:
                self._stream = None
