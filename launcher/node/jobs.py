"""Jobs on a node: what `launcher.node` does for `launcher.jobs.follower`."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import programs
from launcher.core.text.codec import from_plain
from launcher.ipc.channel import Message
from launcher.jobs.process import spawn_runner
from launcher.jobs.remote_runner import DONE_FILE, JOB_FILE
from launcher.node import stdio
from launcher.process import ownership
from launcher.remote.sync import FileSource
from launcher.store import job as job_files
from launcher.store.job import Job

QUIET_LIMIT_S = 30
LOOK_S = 0.2
BROUGHT = ("checkpoint", "model", "export")
"""Folders of a job that hold copies, once its results are where they belong."""


def start(request: Message) -> int:
    """Starts the job, once: who lost the answer may ask again."""
    folder = Path(str(request["folder"]))
    if job_files.read(folder / JOB_FILE) is None:
        folder.mkdir(parents=True, exist_ok=True)
        job = from_plain(Job, request["job"])
        argv = tuple(os.path.expanduser(w) if w.startswith("~/") else w for w in job.argv)
        (folder / "export").mkdir(exist_ok=True)
        job_files.write(folder / JOB_FILE, replace(job, argv=argv))
        spawn_runner(folder / JOB_FILE, job.token, programs.REMOTE_JOB, str(folder))
    stdio.reply(ok=True)
    return 0


def follow(request: Message) -> int:
    """The job's log as it grows; the reply comes when it is over, and says its exit code."""
    folder = Path(str(request["folder"]))
    source = FileSource.of_request(folder, request["copy"])
    listener = stdio.Listener(QUIET_LIMIT_S)
    while True:
        done = _done(folder)
        while messages := list(source.read()):
            stdio.say(*messages)
            if not listener.hears():
                return 0
        if done is not None:
            stdio.reply(ok=True, **done)
            return 0
        listener.tell_alive()
        if not listener.hears(LOOK_S):
            return 0


def stop(request: Message) -> int:
    """Asks what runs the job to end it."""
    job = job_files.read(Path(str(request["folder"])) / JOB_FILE)
    runner = None if job is None else ownership.read_process(job.pid)
    if job is not None and runner is not None and runner.start_time == job.start_ticks:
        ownership.send_signal(runner, signal.SIGTERM)
    stdio.reply(ok=True)
    return 0


def clear(request: Message) -> int:
    """Removes what was brought here for the job, and what was fetched from it."""
    for name in BROUGHT:
        shutil.rmtree(Path(str(request["folder"])) / name, ignore_errors=True)
    stdio.reply(ok=True)
    return 0


def _done(folder: Path) -> dict[str, Any] | None:
    """None while it runs."""
    job = job_files.read(folder / JOB_FILE)
    is_running = job is not None and job.is_running
    try:
        code = json.loads((folder / DONE_FILE).read_text()).get("exit_code")
    except (OSError, ValueError):
        # All that could have written it was killed: nobody knows.
        return None if is_running else {"exit_code": None}
    return {"exit_code": code if isinstance(code, int) else None}
