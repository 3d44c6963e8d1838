"""A run for people, bug reports and other programs."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from launcher.cli import options
from launcher.errors import INTERRUPTED, LaunchError, UsageError

FOLLOW_S = 2.0

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


def tensorboard(
    run: Annotated[str, options.RUN] = "latest",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the folder; each run has its own in it")
    ] = Path("tensorboard"),
    every: Annotated[
        int, typer.Option(metavar="N", help="only the first report of N steps", min=1)
    ] = 1,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="add what comes until the run is over")
    ] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Write a run as TensorBoard's event files, one folder for each rank.

    Repeat the command to add what came since; one that was interrupted continues.

    effnet-launch tensorboard latest -o logs

    effnet-launch tensorboard latest -o logs --every 10 --follow
    """
    from launcher import client
    from launcher.cli.output.console import print_json, printable, screen
    from launcher.cli.output.copying import copying
    from launcher.core.text.figures import size_bytes

    reader = client.open_run(run)
    folder, added = output / reader.run, 0
    try:
        while True:
            reader.poll_state()
            is_over = reader.status().is_over
            with copying("exporting") as progress:
                added += client.write_event_files(reader, folder, every, progress)
            if is_over or not follow:
                break
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"folder": str(folder.absolute()), "bytes": added})
    else:
        text = f"{printable(str(folder))}: {size_bytes(added)} of reports and samples added"
        screen().print(text, soft_wrap=True)
        screen().print(
            f"tensorboard --logdir {printable(shlex.quote(str(output)))}", soft_wrap=True
        )


def metrics(
    run: Annotated[str, options.RUN] = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write this file instead")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="write the file every 2 s until the run is over"),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="answer on this port of 127.0.0.1, to Ctrl-C; 0: any", min=0, max=65535),
    ] = None,
) -> None:
    """Print a run's figures for Prometheus (OpenMetrics), write them to a file, or serve them.

    effnet-launch metrics latest

    effnet-launch metrics latest -o /var/lib/node_exporter/effnet.prom --follow

    effnet-launch metrics latest --port 9300
    """
    from launcher import client
    from launcher.cli.output.console import errors

    if follow and output is None:
        raise UsageError("--follow needs a file", "Add --output FILE, or use --port.")
    reader = client.open_run(run)
    reader.wait_for_answer()
    found = client.metrics(reader)
    try:
        if port is not None:
            known = found.serve(port)
            errors().print(f"{reader.run}: http://127.0.0.1:{known}/metrics; Ctrl-C ends it")
        elif output is None:
            print(found.text(), end="")
        while port is not None or output is not None:
            if output is not None:
                found.write(output)
            is_wanted = follow and not reader.state.status.is_over
            if port is None and not is_wanted:
                break
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def reporter(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the file, beside your script")
    ] = Path("effnet_reporter.py"),
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Copy the file that lets your own training script report its steps and save on a stop request.

    It needs only Python's standard library. An older copy is replaced.

    effnet-launch reporter -o effnet_reporter.py
    """
    from launcher import programs

    source = programs.reporter_file()
    if source is None:
        text = "the bundled trainer (package effnet) is not installed here"
        raise LaunchError(text, "Install effnet-tui again: pip install effnet-tui")
    content = source.read_text(encoding="utf-8")
    head = content.partition("\n")[0]
    if output.exists() and not output.read_bytes().startswith(head.encode()):
        raise UsageError(f"{output} is another file", "Choose another name: --output FILE")
    output.write_text(content, encoding="utf-8")
    _tell(output, as_json)


def _tell(path: Path, as_json: bool) -> None:
    from launcher.cli.output.console import print_json, printable, screen
    from launcher.core.text.figures import size_bytes

    size = path.stat().st_size
    if as_json:
        print_json({"file": str(path.absolute()), "bytes": size})
    else:
        screen().print(f"{printable(str(path))}: {size_bytes(size)}", soft_wrap=True)
