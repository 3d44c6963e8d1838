"""How far the copying of a file between machines is, for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from launcher.core.run.checkpoints import ResumeChoice

if TYPE_CHECKING:
    from rich.progress import TaskID

MEGABYTE = 1_000_000


@contextlib.contextmanager
def copying() -> Iterator[Callable[[str, int, int], None]]:
    """On a terminal a bar on stderr, which leaves nothing behind; elsewhere nothing."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from launcher.cli.output.console import errors

    console = errors()
    columns = (TextColumn("copying {task.description}", markup=False), BarColumn())
    bar = Progress(
        *columns,
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def told(name: str, done: int, size: int) -> None:
        if name not in tasks:
            bar.start()
            tasks[name] = bar.add_task(name, total=size)
        bar.update(tasks[name], completed=done)

    try:
        yield told
    finally:
        bar.stop()


def copied_text(choice: ResumeChoice, is_dry_run: bool = False) -> str:
    """What was copied (or would be) for a resume."""
    where = f"from {choice.copied_from} to {choice.copied_to}"
    if is_dry_run:
        return f"it would be copied {where}, where rank 0 reads it"
    if not choice.copied_bytes:
        return f"{choice.copied_to} has a copy of it already, sha256 compared"
    return f"copied {where}: {choice.copied_bytes / MEGABYTE:.1f} MB, sha256 compared"
