"""The log files of a job on another machine: copied here as they grow, over SSH.

On the host `launcher.node` reads them. Nothing is written there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from launcher.core.profile.model import Node, RemoteTransport
from launcher.core.text.codec import from_plain
from launcher.errors import LaunchError, NodeError, UsageError
from launcher.ipc.operations import WatchedFiles, WatchLogs
from launcher.remote.following import SILENT_S, NodeFollower
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.sync import FileCopy
from launcher.watching.layout import Files, Layout

START_S = 60.0
"""For Python to start there, on a machine that is busy."""
RETRY_S = (1.0, 2.0, 5.0, 10.0)
PING_EVERY_S = 0.5


class _Copying(NodeFollower):
    """Copies the logs below ``root``; ``job`` is the newest message about them."""

    def __init__(self, client: NodeClient, folder: str, root: Path) -> None:
        super().__init__(client)
        self.job: WatchedFiles | None = None
        self.trouble: LaunchError | None = None
        self.changed = threading.Event()
        """Set when `job` or `trouble` is known for the first time."""
        self._folder, self._root = folder, root
        self._copy = FileCopy(client.label, root)
        self._tries = 0

    def follow(self) -> None:
        try:
            known = {name: size for name, (size, _) in self._copy.known().items()}
            with self.opened(WatchLogs(self._folder, known)) as call:
                call.stream.silent_after(START_S)
                for message in call.messages():
                    call.stream.silent_after(SILENT_S)
                    self._take(message)
                    if self.is_over:
                        return
        except (LaunchError, OSError, ValueError) as error:
            self._client.close()
            self._report(error)

    def _take(self, message: dict[str, object]) -> None:
        if message.get("type") == "file":
            self._copy.write_chunk(message)
            changed_s = message.get("changed_s")
            if isinstance(changed_s, float):
                os.utime(self._root / str(message["name"]), (changed_s, changed_s))
        elif message.get("type") == "job":
            self.job = from_plain(WatchedFiles, message.get("job"))
            self.trouble, self._tries = None, 0
            self.changed.set()

    def _report(self, error: Exception) -> None:
        if isinstance(error, RefusedError):
            error = UsageError(f"{self._client.label}: {error.message}", error.hint)
            self.is_over = True  # there is nothing to follow
        elif not isinstance(error, LaunchError):
            error = NodeError(self._client.label, str(error))
        self.trouble = error
        self.changed.set()
        if not self.is_over:
            time.sleep(RETRY_S[min(self._tries, len(RETRY_S) - 1)])
            self._tries += 1


class RemoteFiles:
    """Raises UsageError where no log is found there, NodeError where the host can't be reached."""

    def __init__(
        self,
        user: str,
        host: str,
        folder: str,
        python: str = "",
        transport: RemoteTransport = "ssh",
        confirm_host: Callable[[str], bool] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="effnet-watch-", ignore_cleanup_errors=True
        )
        self._root = Path(self._folder.name)
        self._host = host
        node = Node(address=host, user=user, python=python, transport=transport)
        client = self._client = NodeClient(node, confirm_host)
        self._copying = _Copying(client, folder, self._root)
        self._is_closed = threading.Event()
        self._pinger = threading.Thread(target=self._ping, name="watch-ping", daemon=True)
        self._copying.thread.start()
        self._pinger.start()
        self._copying.changed.wait()
        if self._copying.job is None and self._copying.trouble is not None:
            trouble = self._copying.trouble
            self.close()
            raise trouble

    def files(self) -> Files:
        """As they are here now."""
        job, trouble = self._copying.job, self._copying.trouble
        if job is None:
            return Files(Layout(), self._host, {}, sees_writers=False)
        attempts: list[dict[int, tuple[str, ...]]] = []
        for name in job.names:
            attempt, rank, _ = name.split("/")
            while len(attempts) <= int(attempt):
                attempts.append({})
            ranks = attempts[int(attempt)]
            ranks[int(rank)] = (*ranks.get(int(rank), ()), str(self._root / name))
        writers = {str(self._root / name): pids for name, pids in job.writers.items()}
        why = "" if trouble is None else trouble.summary
        return Files(
            Layout(job.launcher, tuple(attempts)), self._host, writers, job.sees_writers, why
        )

    def close(self) -> None:
        """Ends the connection and removes the copies."""
        self._copying.is_over = True
        self._is_closed.set()
        self._client.close()
        self._folder.cleanup()

    def _ping(self) -> None:
        while not self._is_closed.wait(PING_EVERY_S):
            with contextlib.suppress(OSError):
                self._copying.ping()
