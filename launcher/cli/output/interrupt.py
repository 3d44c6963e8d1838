"""Ctrl-C while a command waits: prints what was done and what was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from launcher import client
from launcher.cli.output.console import errors
from launcher.core.run.state import RunStatus
from launcher.errors import INTERRUPTED


@contextmanager
def on_ctrl_c(text: Callable[[], str]) -> Iterator[None]:
    """Within it, Ctrl-C prints `text()` and ends this process at once.

    Only a process that is being started is waited for: until it is there, nothing true can be said
    about it. Threads may be connecting to nodes that do not answer. A run is safe from that, as it
    is from the end of its terminal.
    """

    def end() -> None:
        console = errors()
        console.show_cursor()
        console.print(f"\ninterrupted: {text()}")
        os._exit(INTERRUPTED)

    def says() -> None:
        errors().print("\nCtrl-C: ends as soon as it is known what was done")

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        client.interrupt(end, says)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start_text(began_s: float) -> str:
    """`began_s`: Unix time at which the command began."""
    for item in client.list_runs():
        if item.created_s is not None and item.created_s >= began_s:
            return f"run {item.run} continues. Follow it: effnet-launch attach {item.run}"
    return "no run was started."


def resume_text(reader: client.RunReader, began_s: float) -> str:
    run, snapshot = reader.run, _again(reader).poll()
    attempt, is_queued = snapshot.state.attempt, snapshot.state.status is RunStatus.PENDING
    has_begun = attempt is not None and attempt.started_s >= began_s
    if snapshot.is_supervised or is_queued or has_begun:
        return f"the resume of {run} continues. Follow it: effnet-launch attach {run}"
    if _is_elsewhere(reader):
        return f"its node may have resumed {run} anyway. See: effnet-launch status {run}"
    return f"{run} was not resumed; nothing is running. Resume it: effnet-launch resume {run}"


def stop_text(reader: client.RunReader) -> str:
    run, status = reader.run, _again(reader).poll_state().status
    if status is RunStatus.STOPPING or status.is_over:
        return f"{run} is {status.value}. See the end of it: effnet-launch status {run}"
    return f"{run} was not asked to stop; it is {status.value}. Stop it: effnet-launch stop {run}"


def started_jobs(reader: client.RunReader) -> set[str]:
    """Jobs of the run that were started, whether or not they have said so yet."""
    paths = reader.paths
    found = paths.jobs.iterdir() if paths.jobs.is_dir() else ()
    return {folder.name for folder in found if paths.job(folder.name).job.exists()}


def job_text(reader: client.RunReader, known: set[str]) -> str:
    """`known`: the jobs that the run had before."""
    run = reader.run
    for job in sorted(started_jobs(reader) - known):
        return f"job {job} continues. Its log: effnet-launch logs {run} --job {job}"
    if _is_elsewhere(reader):
        return f"the run's node may have started the job anyway. See: effnet-launch status {run}"
    return "no job was started."


def _again(reader: client.RunReader) -> client.RunReader:
    """Another reader: the signal may have come while that one reads."""
    return client.open_run(reader.paths.root)


def _is_elsewhere(reader: client.RunReader) -> bool:
    """Whether another machine has the run, which may have got the request."""
    return reader.paths.home.is_file()


def prune_text(roots: Sequence[str]) -> str:
    stay = sum(Path(root).exists() for root in roots)
    return f"{len(roots) - stay} removed, {stay} stay. Remove them: effnet-launch prune"
