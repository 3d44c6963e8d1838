"""`watch`: a job that was started elsewhere."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer


def watch(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|PATTERN",
            help="folder with the logs of msrun, mpirun, torchrun or mindformers, or a pattern"
            " in quotes",
            show_default=False,
        ),
    ],
    pattern: Annotated[
        str,
        typer.Option(
            metavar="REGEX",
            help=r"lines of steps, e.g. 'step (?P<step>\d+) loss (?P<loss>\S+)'",
        ),
    ] = "",
    silent: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="a rank is silent after so long; 0: learned from its steps"
        ),
    ] = 0.0,
    once: Annotated[bool, typer.Option("--once", help="print its state now and exit")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print its state now as JSON")] = False,
) -> None:
    """Watch a job that another launcher started, or see why it failed. Changes nothing.

    effnet-launch watch msrun_log

    effnet-launch watch 'logs/rank*.txt' --pattern 'step (?P<step>\\d+) loss (?P<loss>\\S+)'

    effnet-launch watch msrun_log --once
    """
    from launcher import client
    from launcher.cli.output import follow
    from launcher.cli.output.console import failure_card, print_json, screen
    from launcher.core.text.codec import to_plain

    reader = client.watch(
        target,
        pattern=pattern,
        silent_s=silent,
    )
    with contextlib.closing(reader):
        if not (once or as_json):
            raise typer.Exit(follow.follow(reader, screen()))
        reader.catch_up()
        snapshot = reader.poll()
        if as_json:
            print_json(to_plain(snapshot))
            return
        console = screen()
        console.print(follow.picture(snapshot, is_live=False))
        if snapshot.failure is not None:
            console.print(failure_card(snapshot.failure, ""))
