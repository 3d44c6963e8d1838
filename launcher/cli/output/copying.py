"""The progress of file copies between machines, and of exports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.text.figures import size_bytes

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextlib.contextmanager
def copying(doing: str = "copying") -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar on stderr while files are copied or written; nothing without a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from launcher.cli.output.console import errors

    console = errors()
    bar = Progress(
        TextColumn(f"{doing} {{task.description}}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, size: int) -> None:
        if name not in tasks:
            bar.start()
            tasks[name] = bar.add_task(name, total=size)
        bar.update(tasks[name], completed=done)

    try:
        yield update
    finally:
        bar.stop()


def copied_text(choice: ResumeChoice, is_dry_run: bool = False) -> str:
    """What was copied (or would be) for a resume."""
    where = f"from {choice.copied_from} to {choice.copied_to}"
    if is_dry_run:
        return f"it would be copied {where}, where rank 0 needs it"
    if not choice.copied_bytes:
        return f"{choice.copied_to} has a copy of it already, sha256 compared"
    return f"copied {where}: {size_bytes(choice.copied_bytes)}, sha256 compared"
