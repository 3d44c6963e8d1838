"""Progress: a bar on a terminal, a line from time to time in a job's log."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from effnet.contract.report import progress_line

LINE_EVERY_S = 1.0


@contextlib.contextmanager
def bar(title: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with how many of `total` are done.

    On standard error: a bar in a terminal, `progress:` lines in a launcher's job, else nothing.
    """
    console = Console(stderr=True)
    if show and not console.is_terminal and "EFFNET_HEARTBEAT" in os.environ:
        yield _lines(title, total)
        return
    if not (show and console.is_terminal):
        yield lambda done: None
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)


def _lines(title: str, total: int) -> Callable[[int], None]:
    last_s = time.monotonic()

    def print_line(done: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= LINE_EVERY_S:
            last_s = now_s
            print(progress_line(title, done, total), file=sys.stderr, flush=True)

    return print_line
