"""`stacks`: what every rank does now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from launcher.core.diagnosis.stacks import Frame, StackDump

MAX_SHOWN = 12
"""Calls of a group's stack; `--rank` prints all."""


def stacks(
    run: Annotated[str, options.RUN] = "latest",
    rank: Annotated[
        int | None, typer.Option("--rank", "-r", help="all threads of this rank", min=0)
    ] = None,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Show where every rank is in its code, and which one the others wait for.

    The ranks continue. Of a run that is over, shows the stacks that were taken last.

    effnet-launch stacks

    effnet-launch stacks latest --rank 5
    """
    from launcher import client
    from launcher.cli.output.console import print_json
    from launcher.errors import RunNotFoundError

    reader = client.open_run(run)
    is_over = reader.poll_state().status.is_over
    found = reader.stacks() if is_over else client.take_stacks(reader)
    if found is None:
        hint = f"Its log: effnet-launch logs {reader.run}"
        raise RunNotFoundError(f"{reader.run} is over, and no stacks were taken of it", hint)
    if rank is not None and all(item.rank != rank for item in found.ranks):
        raise RunNotFoundError(f"there are no stacks of rank {rank}")
    if as_json:
        print_json(found)
    elif rank is None:
        _show(found)
    else:
        _show_rank(found, rank)


def _show(found: StackDump) -> None:
    from launcher.cli.output.console import printable, screen

    console = screen()
    console.print(printable(found.verdict.words), style="bold")
    console.print(f"{_when(found)}: {printable(found.why)}", style="dim")
    outliers = set(found.verdict.outliers)
    # The ranks that the others wait for come first.
    for group in sorted(found.verdict.groups, key=lambda group: not outliers & set(group.ranks)):
        console.print(
            f"\n{printable(group.words)}", style="red" if outliers & {*group.ranks} else ""
        )
        for frame in group.frames[:MAX_SHOWN]:
            console.print(_line(frame))
        if (more := len(group.frames) - MAX_SHOWN) > 0:
            console.print(f"  … {more} more: --rank {group.ranks[0]}", style="dim")


def _show_rank(found: StackDump, rank: int) -> None:
    from launcher.cli.output.console import printable, screen

    console = screen()
    shown = next(item for item in found.ranks if item.rank == rank)
    facts = {"phase": shown.phase, "state": shown.state, "in": shown.wchan}
    facts |= {"system call": shown.system_call}
    known = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    console.print(f"rank {rank} on {printable(shown.node)}: {printable(known)}", style="bold")
    console.print(f"{_when(found)}: {printable(shown.why or found.why)}", style="dim")
    for number, thread in enumerate(shown.threads):
        console.print(f"\nthread {number}" if number else "\nmain thread")
        for frame in thread.frames:
            console.print(_line(frame))
        if not thread.frames:
            console.print("  no Python call")


def _when(found: StackDump) -> str:
    return f"taken {time.strftime('%H:%M:%S', time.localtime(found.asked_s))}"


def _line(frame: Frame) -> str:
    from launcher.cli.output.console import printable

    return f"  {printable(frame.file)}:{frame.line} {printable(frame.function)}"
