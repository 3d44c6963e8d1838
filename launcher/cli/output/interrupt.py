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

    Nothing is waited for: threads may be connecting to nodes that do not answer. A run is safe
    from that, as it is from the end of its terminal.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        console = errors()
        console.show_cursor()
        console.print(f"\ninterrupted: {text()}")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
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


def resume_text(run: str, began_s: float) -> str:
    snapshot = client.open_run(run).poll()
    attempt = snapshot.state.attempt
    if snapshot.is_supervised or (attempt is not None and attempt.started_s >= began_s):
        return f"the resume of {run} continues. Follow it: effnet-launch attach {run}"
    return f"{run} was not resumed; nothing is running. Resume it: effnet-launch resume {run}"


def stop_text(run: str) -> str:
    status = client.open_run(run).poll_state().status
    if status is RunStatus.STOPPING or status.is_over:
        return f"{run} is {status.value}. See the end of it: effnet-launch status {run}"
    return f"{run} was not asked to stop; it is {status.value}. Stop it: effnet-launch stop {run}"


def job_text(run: str, known: set[str]) -> str:
    """`known`: the jobs that the run had before."""
    for job in client.open_run(run).poll_state().jobs:
        if job.job not in known:
            return f"job {job.job} continues. Its log: effnet-launch logs {run} --job {job.job}"
    return "no job was started."


def prune_text(roots: Sequence[str]) -> str:
    stay = sum(Path(root).exists() for root in roots)
    return f"{len(roots) - stay} removed, {stay} stay. Remove them: effnet-launch prune"
