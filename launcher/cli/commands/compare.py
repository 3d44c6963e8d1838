"""`compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.cli import options

RUNS = typer.Argument(help="ids of two or more runs, or the start of one, `latest`, or paths")


def compare(
    runs: Annotated[list[str], RUNS],
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Compare runs: what differs in their configurations and speeds, and where the time went.

    Runs in any state can be compared. The dashboard also shows their curves (space, then c).

    effnet-launch compare latest local-cpu-20260102-101500-1a2b

    effnet-launch compare a-run b-run --json
    """
    from launcher import client
    from launcher.cli.output.console import plain_table, print_json, printable, screen, status_text
    from launcher.core.history.compare import NAMES, rows
    from launcher.core.history.config import shown
    from launcher.core.text.figures import NOT_KNOWN, accuracy, duration, number, percent
    from launcher.errors import UsageError

    if not 2 <= len(runs) <= len(NAMES):
        raise UsageError(f"{len(runs)} run given", f"Name 2 to {len(NAMES)} runs: compare A B")
    found = client.compare([client.open_run(run) for run in runs])
    if as_json:
        print_json(found)
        return
    console, names = screen(), NAMES[: len(runs)]
    table = plain_table("", "run", "status", "done>", "loss>", "top-1>", "took>", "note*")
    for name, run in zip(names, found.runs, strict=True):
        figures = (percent(run.progress), number(run.loss, 4), accuracy(run.best_top_1))
        took = duration(run.duration_s)
        table.add_row(name, run.run, status_text(run.status), *figures, took, printable(run.note))
    console.print(table)
    columns = (f"{name}>" for name in names)
    table = plain_table("\nconfiguration", *(f"\n{name}*" for name in names))
    for item in found.differences:
        cells = (
            NOT_KNOWN if one is None else f"{printable(shown(one.value))} ({one.source})"
            for one in item.settings
        )
        table.add_row(item.key, *cells)
    console.print(table if found.differences else "\nno known setting differs")
    table = plain_table("\nspeed", *(f"\n{column}" for column in columns))
    for title, texts in rows(found.speeds):
        if set(texts) != {NOT_KNOWN}:
            table.add_row(title, *texts)
    console.print(table)
    for index, words in enumerate(found.words):
        console.print(f"{'' if index else chr(10)}{printable(words)}", soft_wrap=True)
