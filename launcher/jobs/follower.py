"""A job on a node that SSH reaches, followed from the run's machine.

It is started once and runs by itself. A broken connection is opened again, and the copy of its log
continues where it ended.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path
from typing import Any

from launcher.core.run.paths import JobPaths, RunPaths
from launcher.errors import LaunchError, NodeError
from launcher.ipc import operations as op
from launcher.process.log import log_line
from launcher.remote import file_copy
from launcher.remote.file_copy import LocalFiles, NodeFiles
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.sync import FileCopy
from launcher.store import run as run_files
from launcher.store.job import Job

SILENT_S = 8.0
PING_S = 1.0
AGAIN_S = 1.0


def run(paths: RunPaths, job: Job) -> int | None:
    """From its start to its end. -> the exit code; None when nobody knows it."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    profile = run_files.load(paths.root).profile
    client = _client(paths, job)
    follower = _Follower(client, job, paths.job(job.id), profile.limits.unreachable_s)
    thread = threading.Thread(target=follower.run, name="job", daemon=True)
    thread.start()
    is_told = False
    while thread.is_alive():
        thread.join(PING_S / 4)
        follower.ping()
        if asked and not is_told:
            with contextlib.suppress(NodeError):
                client.call(op.StopJob(job.folder))
                is_told = True
    try:
        if follower.exit_code == 0 and job.export_to:
            _fetch_exported(NodeFiles(client), job)
        if follower.is_over:
            client.call(op.ClearJob(job.folder))
    except LaunchError as error:
        _last_word(paths.job(job.id), str(error))
        return follower.exit_code or 1
    finally:
        client.close()
    return follower.exit_code


def stop(paths: RunPaths, job: Job) -> None:
    """Ends it there when nobody follows it any more; a node that is away ends it by itself."""
    with contextlib.suppress(LaunchError):
        client = _client(paths, job)
        client.call(op.StopJob(job.folder))
        client.close()


class _Follower:
    """Starts the job, then copies its log until it is over; a thread of its own."""

    def __init__(self, client: NodeClient, job: Job, here: JobPaths, unreachable_s: float) -> None:
        self.exit_code: int | None = None
        self.is_over = False
        self._client = client
        self._job = job
        self._here = here
        self._copy = FileCopy(client.label, here.root, ("log.txt",))
        self._unreachable_s = unreachable_s
        self._stream: Any = None
        self._pinged = 0.0
        self._is_started = False
        self._heard = time.monotonic()

    def run(self) -> None:
        try:
            while not self.is_over:
                self._try()
        except LaunchError as error:
            _last_word(self._here, str(error))

    def _try(self) -> None:
        """Raises `LaunchError` when it can't be followed any more."""
        try:
            if not self._is_started:
                self._ask_start()
            self._follow()
        except NodeError as error:
            self._client.close()
            away_s = time.monotonic() - self._heard
            if away_s > self._unreachable_s:
                why = f"not reached for {away_s:.0f} s, and the job may still run there: {error}"
                raise LaunchError(why) from error
            log_line(str(error))
            time.sleep(AGAIN_S)

    def ping(self) -> None:
        """From another thread: what serves us there ends itself when it hears nothing."""
        stream, now = self._stream, time.monotonic()
        if stream is not None and now - self._pinged >= PING_S:
            self._pinged = now
            with contextlib.suppress(OSError):
                stream.write(b"\n")

    def _ask_start(self) -> None:
        try:
            self._client.call(op.StartJob(self._job.folder, self._job))
        except RefusedError as error:
            raise LaunchError(error.summary) from error
        self._is_started = True

    def _follow(self) -> None:
        with (
            self._copy.request() as copy,
            self._client.open(op.FollowJob(self._job.folder, copy), SILENT_S) as call,
        ):
            self._stream, self._heard = call.stream, time.monotonic()
            try:
                self.exit_code = call.reply(self._copy.write_chunk)
            finally:
                self._stream = None
        self.is_over = True


def _fetch_exported(there: NodeFiles, job: Job) -> None:
    """Raises `LaunchError`."""
    folder = f"{job.folder}/export"
    for name in there.names(folder):
        file_copy.bring(there, f"{folder}/{name}", LocalFiles(), str(Path(job.export_to, name)))


def _last_word(here: JobPaths, text: str) -> None:
    log_line(text)
    with contextlib.suppress(OSError), here.log.open("a") as log:
        log.write(f"effnet-launch: {text}\n")


def _client(paths: RunPaths, job: Job) -> NodeClient:
    """Raises `LaunchError`."""
    for node in run_files.load(paths.root).profile.nodes:
        if node.label == job.node:
            return NodeClient(node)
    raise LaunchError(f"no node {job.node!r} in the profile of {paths.root.name}")
