"""Consoles, JSON, tables and cards of the command line."""

from __future__ import annotations

import functools
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

from launcher.core.diagnosis.words import hang_words, headline, meaning
from launcher.core.run.events import Failure
from launcher.core.run.state import Hang, RunStatus
from launcher.core.text.codec import to_plain
from launcher.core.text.terminal import clean, clean_lines, escape_json

STYLES = {
    RunStatus.RUNNING: "green",
    RunStatus.PENDING: "cyan",
    RunStatus.STARTING: "cyan",
    RunStatus.FINISHED: "bold green",
    RunStatus.STOPPED: "yellow",
    RunStatus.STOPPING: "yellow",
    RunStatus.FAILING: "red",
    RunStatus.FAILED: "bold red",
    RunStatus.HUNG: "bold red",
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
    """stderr. Lines are not broken: a path or a command in them can be copied."""
    return SafeConsole(stderr=True, soft_wrap=True)


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


def hang_text(hang: Hang, now_s: float) -> Text:
    """``HUNG rank 0 · silent 3 min · compute``."""
    return Text(f"HUNG {hang_words(hang, now_s)}", style=STYLES[RunStatus.HUNG])


def failure_card(failure: Failure, run: str) -> RenderableType:
    """The cause of a failed attempt: the first rank, what it means, what to try, its last lines.

    ``run`` is empty where nothing can be resumed.
    """
    text = functools.partial(Text, no_wrap=False, overflow="fold")  # whole also in a pipe
    lines: list[RenderableType] = [text(headline(failure), style="bold"), text(meaning(failure))]
    if failure.try_next:
        lines.append(text(failure.try_next))
    lines += [text(f"kernel: {printable(line)}") for line in failure.kernel_lines]
    last = failure.traceback or failure.last_lines[-12:]
    if last:
        lines.append(text("\n" + "\n".join(printable(line) for line in last)))
    if failure.log:
        lines.append(text(f"\nlog: {failure.log}", style="dim"))
    if failure.followers:
        ranks = ", ".join(map(str, failure.followers[:16]))
        word = "ranks" if len(failure.followers) > 1 else "rank"
        lines.append(text(f"ended because of it: {word} {ranks}", style="dim"))
    if run:
        lines.append(text(f"resume: effnet-launch resume {run}", style="dim"))
    return Panel(Group(*lines), title="failed", border_style="red", title_align="left")


def printable(text: str) -> str:
    """On one line, without control characters: text from outside must not control the terminal."""
    kept = clean(text.replace("\n", " / "))
    return kept if len(kept) <= MAX_WIDTH else f"{kept[:MAX_WIDTH]} …"
