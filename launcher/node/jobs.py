"""Jobs on a node: what `launcher.node` does for `launcher.jobs.follower`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from launcher.ipc import operations as op
from launcher.jobs import runner
from launcher.jobs.runner import DONE_FILE, THERE_FILE
from launcher.node import stdio
from launcher.process import private
from launcher.remote.sync import FileSource
from launcher.store import job as job_files

LOOK_S = 0.2
BROUGHT = ("checkpoint", "model", "export")
"""Folders of a job that hold copies only, when its results were fetched."""


def start(request: op.StartJob) -> None:
    """Starts the job, once: a client that lost the reply may send the request again."""
    folder, job = Path(request.folder), request.job
    if job_files.read(folder / THERE_FILE) is None:
        private.make_folder(folder / "export")
        # Its pid is that of the follower; the runner puts its own there when it is up.
        job_files.write(folder / THERE_FILE, replace(job, pid=0, start_ticks=0))
        runner.start(folder / THERE_FILE, request.token, request.secrets)


def follow(request: op.FollowJob) -> int | None:
    """Sends the job's log as it grows. -> the exit code, when the job is over; None: unknown."""
    folder = Path(request.folder)
    source = FileSource.of_request(folder, request.copy)
    listener = stdio.Listener()
    while True:
        is_over, code = _state(folder)
        while messages := list(source.read()):
            stdio.send(*messages)
            listener.wait()
        if is_over:
            return code
        listener.send_alive()
        listener.wait(LOOK_S)


def stop(request: op.StopJob) -> None:
    """The job's runner ends it."""
    job = job_files.read(Path(request.folder) / THERE_FILE)
    if job is not None:
        job.terminate()


def clear(request: op.ClearJob) -> None:
    """Removes the copies that were made for the job, and its fetched results."""
    for name in BROUGHT:
        shutil.rmtree(Path(request.folder) / name, ignore_errors=True)


def _state(folder: Path) -> tuple[bool, int | None]:
    """(whether it is over, its exit code)."""
    job = job_files.read(folder / THERE_FILE)
    is_running = job is not None and job.is_running
    try:
        code = json.loads((folder / DONE_FILE).read_text()).get("exit_code")
    except (OSError, ValueError):
        # All processes that could have written it were killed: the exit code is unknown.
        return not is_running, None
    return True, code if isinstance(code, int) else None


HANDLERS: op.Handlers = {
    op.StartJob: start,
    op.FollowJob: follow,
    op.StopJob: stop,
    op.ClearJob: clear,
}
