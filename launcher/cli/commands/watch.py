"""`watch`: a job that was started elsewhere."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from launcher.cli import options


def watch(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|PATTERN|HOST:DIR",
            help="folder with the logs of msrun, mpirun, torchrun or mindformers, a pattern in"
            " quotes, or a folder on a host that SSH reaches",
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
    python: Annotated[
        str, typer.Option(metavar="PATH", help="interpreter on the host (default python3)")
    ] = "",
    openssh: Annotated[
        bool, typer.Option("--openssh", help="reach the host with the ssh program")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="print its state now and exit")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print its state now as JSON")] = False,
) -> None:
    """Watch a job that another launcher started, or see why it failed. Changes nothing.

    effnet-launch watch msrun_log

    effnet-launch watch 'logs/rank*.txt' --pattern 'step (?P<step>\\d+) loss (?P<loss>\\S+)'

    effnet-launch watch node-a:/data/job/msrun_log --once
    """
    from launcher import client
    from launcher.cli.output import follow
    from launcher.cli.output.console import failure_card, print_json, screen
    from launcher.core.text.codec import to_plain

    reader = client.watch(
        target,
        pattern=pattern,
        silent_s=silent,
        python=python,
        transport="openssh" if openssh else "ssh",
        confirm_host=options.confirm_on_terminal(),
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
