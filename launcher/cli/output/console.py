"""Consoles, JSON, tables and cards of the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from launcher.core.run.events import Failure
from launcher.core.run.state import RunStatus
from launcher.core.text.codec import to_plain
from launcher.core.text.terminal import clean, clean_lines, escape_json

STYLES = {
    RunStatus.RUNNING: "green",
    RunStatus.STARTING: "cyan",
    RunStatus.FINISHED: "bold green",
    RunStatus.STOPPED: "yellow",
    RunStatus.STOPPING: "yellow",
    RunStatus.FAILING: "red",
    RunStatus.FAILED: "bold red",
    RunStatus.LOST: "bold red",
}

PIPE_COLUMNS = 240
MAX_WIDTH = 400
"""Characters of one text from outside."""


class SafeConsole(Console):
    """A console whose output holds no control characters and no markup from outside."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Everything that is printed passes here; rich's own control codes stay."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(clean_lines(segment.text), segment.style)
            else:
                yield segment


def screen() -> Console:
    """stdout; rich honours NO_COLOR. A pipe gets long lines."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else PIPE_COLUMNS
    return SafeConsole(soft_wrap=not is_terminal, width=width)


def errors() -> Console:
    return SafeConsole(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    print(escape_json(json.dumps(to_plain(value), indent=2, ensure_ascii=False, default=str)))


def plain_table(*columns: str) -> Table:
    """Columns whose names end in `>` are right-aligned; one that ends in `*` may wrap."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.endswith(">") else "left"
        wraps = column.endswith("*")
        table.add_column(column.rstrip(">*"), justify=justify, no_wrap=not wraps)
    return table


def status_text(status: RunStatus) -> Text:
    return Text(status.value, style=STYLES.get(status, ""))


def failure_card(failure: Failure, run: str) -> RenderableType:
    """The cause of a failed attempt: the first rank, what it means, what to try, its last lines."""
    lines: list[RenderableType] = [Text(failure.meaning, style="bold")]
    if failure.try_next:
        lines.append(Text(failure.try_next))
    where = [] if failure.rank is None else [f"rank {failure.rank}"]
    where += [f"node {failure.node}"] if failure.node else []
    if failure.signal is not None:
        where.append(f"signal {failure.signal}")
    elif failure.exit_code is not None:
        where.append(f"exit code {failure.exit_code}")
    lines.append(Text(", ".join(where), style="dim"))
    last = failure.traceback or failure.last_lines[-12:]
    if last:
        lines.append(Text("\n" + "\n".join(printable(line) for line in last)))
    if failure.log:
        lines.append(Text(f"\nlog: {failure.log}", style="dim", overflow="fold"))
    if failure.followers:
        ranks = ", ".join(map(str, failure.followers[:16]))
        lines.append(Text(f"ended because of it: ranks {ranks}", style="dim"))
    lines.append(Text(f"resume: effnet-launch resume {run}", style="dim"))
    title = f"failed: {failure.kind.value}"
    return Panel(Group(*lines), title=title, border_style="red", title_align="left")


def printable(text: str) -> str:
    """On one line, without control characters: text from outside must not control the terminal."""
    kept = clean(text.replace("\n", " / "))
    return kept if len(kept) <= MAX_WIDTH else f"{kept[:MAX_WIDTH]} …"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"


def size(count: int | None) -> str:
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """With its unit: from 10 s on in seconds."""
    if value is None:
        return "–"
    return f"{number(value)} ms" if value < 10_000 else f"{value / 1000:.1f} s"
