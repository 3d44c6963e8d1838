"""A job on a node that SSH reaches, followed from the run's machine.

It is started once and does not need the connection. The copy of its log continues after a broken
connection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from launcher.core.profile.secrets import HIDDEN
from launcher.core.run.paths import JobPaths, RunPaths
from launcher.errors import LaunchError, NodeError
from launcher.ipc import operations as op
from launcher.process import guard
from launcher.process.log import log_line
from launcher.remote import file_copy
from launcher.remote.file_copy import LocalFiles, NodeFiles
from launcher.remote.following import PING_S, NodeFollower
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.sync import FileCopy
from launcher.store import run as run_files
from launcher.store.job import Job

RETRY_S = 1.0


def run(paths: RunPaths, job: Job, token: str) -> int | None:
    """From its start to its end. -> the exit code; None when it is unknown."""
    signals: list[int] = []
    guard.on_term(lambda: signals.append(signal.SIGTERM))
    profile = run_files.load(paths.root).profile
    client = _client(paths, job)
    start = op.StartJob(job.folder, job, token)
    follower = _Follower(client, start, paths.job(job.id), profile.limits.unreachable_s)
    follower.thread.start()
    is_stopped = False
    while follower.thread.is_alive():
        follower.thread.join(PING_S / 4)
        follower.ping()
        if signals and not is_stopped:
            with contextlib.suppress(NodeError):
                client.call(op.StopJob(job.folder))
                is_stopped = True
    try:
        if follower.exit_code == 0 and job.export_to:
            _fetch_exported(NodeFiles(client), job)
        if follower.is_over:
            client.call(op.ClearJob(job.folder))
    except LaunchError as error:
        _log_error(paths.job(job.id), error)
        return follower.exit_code or 1
    finally:
        client.close()
    return follower.exit_code


def stop(paths: RunPaths, job: Job) -> None:
    """Stops it on its node when its follower has died; an unreachable node is left alone."""
    with contextlib.suppress(LaunchError):
        client = _client(paths, job)
        client.call(op.StopJob(job.folder))
        client.close()


class _Follower(NodeFollower):
    """Starts the job, then copies its log until it is over."""

    def __init__(
        self, client: NodeClient, start: op.StartJob, here: JobPaths, unreachable_s: float
    ) -> None:
        super().__init__(client)
        self.exit_code: int | None = None
        self._start = start
        self._here = here
        self._copy = FileCopy(client.label, here.root, ("log.txt",))
        self._unreachable_s = unreachable_s
        self._is_started = False
        self._reached = time.monotonic()

    def run(self) -> None:
        try:
            super().run()
        except LaunchError as error:
            _log_error(self._here, error)

    def follow(self) -> None:
        """Raises `LaunchError` when the job cannot be followed any more."""
        try:
            if not self._is_started:
                self._start_job()
            with (
                self._copy.request() as copy,
                self.opened(op.FollowJob(self._start.folder, copy)) as call,
            ):
                try:
                    self.exit_code = call.reply(self._copy.write_chunk)
                finally:
                    self._reached = time.monotonic()
            self.is_over = True
        except NodeError as error:
            self._client.close()
            away_s = time.monotonic() - self._reached
            if away_s > self._unreachable_s:
                why = f"not reached for {away_s:.0f} s, and the job may still run there: {error}"
                raise LaunchError(why) from error
            log_line(str(error))
            time.sleep(RETRY_S)

    def _start_job(self) -> None:
        try:
            start = self._start
            hidden = [name for name, value in start.job.environment.items() if value == HIDDEN]
            secrets = {name: os.environ[name] for name in hidden if name in os.environ}
            self._client.call(replace(start, secrets=secrets))
        except RefusedError as error:
            raise LaunchError(error.summary) from error
        self._is_started = True


def _fetch_exported(there: NodeFiles, job: Job) -> None:
    folder = f"{job.folder}/export"
    for name in there.names(folder):
        file_copy.bring(there, f"{folder}/{name}", LocalFiles(), str(Path(job.export_to, name)))


def _log_error(here: JobPaths, error: LaunchError) -> None:
    log_line(str(error))
    with contextlib.suppress(OSError), here.log.open("a") as log:
        log.write(f"effnet-launch: {error}\n")


def _client(paths: RunPaths, job: Job) -> NodeClient:
    """Raises `LaunchError`."""
    for node in run_files.load(paths.root).profile.nodes:
        if node.label == job.node:
            return NodeClient(node)
    raise LaunchError(f"no node {job.node!r} in the profile of {paths.root.name}")
