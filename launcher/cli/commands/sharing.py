"""`report` and `bundle`: a run as one file, for people and for bug reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from launcher.cli import options

ANONYMOUS = typer.Option(
    "--anonymous", help="replace names of nodes, hosts and users, addresses and home folders"
)


def report(
    run: Annotated[str, options.RUN] = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the file; RUN.html when missing")
    ] = None,
    anonymous: Annotated[bool, ANONYMOUS] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Write a run as one HTML file: state, curves, where its time went, attempts, failures.

    The page loads nothing from a network. It can be made while the run is on, and again later.

    effnet-launch report latest -o run.html

    effnet-launch report local-cpu-20260102-101500-1a2b --anonymous
    """
    from launcher import client

    reader = client.open_run(run)
    path = output or Path(f"{reader.run}.html")
    client.write_report(reader, path, is_anonymous=anonymous)
    _tell(path, as_json)


def bundle(
    run: Annotated[str, options.RUN] = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the file; RUN.tar.gz when missing")
    ] = None,
    anonymous: Annotated[bool, ANONYMOUS] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Pack a run for a bug report: its directory without weights, its report, the devices' tools.

    Secrets are not in a run directory. What a program printed is in its logs: look before you send.

    effnet-launch bundle latest --anonymous
    """
    from launcher import client

    reader = client.open_run(run)
    path = output or Path(f"{reader.run}.tar.gz")
    client.write_bundle(reader, path, is_anonymous=anonymous)
    _tell(path, as_json)


def _tell(path: Path, as_json: bool) -> None:
    from launcher.cli.output.console import print_json, printable, screen
    from launcher.core.text.figures import size_bytes

    size = path.stat().st_size
    if as_json:
        print_json({"file": str(path.absolute()), "bytes": size})
    else:
        screen().print(f"{printable(str(path))}: {size_bytes(size)}", soft_wrap=True)
