"""`effnet-launch`: the entry point. Exit codes: docs/reference/exit-codes.md.

Commands import what they need when they run: `--help` and completion shall not wait for it.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from launcher.cli.commands import (
    actions,
    cleanup,
    doctor,
    jobs,
    preflight,
    profiles,
    reading,
    tables,
)
from launcher.errors import BusyError, InvalidError, LaunchError, RunNotFoundError

OK, FAILED, USAGE, NOT_FOUND, REFUSED = 0, 1, 2, 3, 4
INTERRUPTED = 130

app = typer.Typer(
    name="effnet-launch",
    help="Start, watch, stop and resume distributed EfficientNet training.",
    epilog="Exit codes: 0 done, 1 the run or operation failed, 2 wrong usage or profile, 3 no such"
    " run, 4 refused, 5 no usable checkpoint, 6 a node cannot be used, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
actions.register(app)
preflight.register(app)
doctor.register(app)
reading.register(app)
jobs.register(app)
cleanup.register(app)
profiles.register(app)
tables.register(app)


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"effnet-launch {version('effnet-tui')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Start, watch, stop and resume distributed EfficientNet training."""


def exit_code_of(error: LaunchError) -> int:
    if isinstance(error, RunNotFoundError):
        return NOT_FOUND
    if isinstance(error, BusyError):
        return REFUSED
    return error.exit_code


def report(error: LaunchError) -> None:
    """What is wrong and what to do, on stderr."""
    from launcher.cli.output.console import errors

    console = errors()
    console.print(f"error: {error.summary}", style="bold red")
    for problem in error.problems if isinstance(error, InvalidError) else ():
        console.print(f"  {problem}", soft_wrap=True)
    if error.hint:
        console.print(error.hint, soft_wrap=True)


def main() -> None:
    try:
        app()
    except LaunchError as error:
        report(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # `effnet-launch logs … | head`: the reader has enough. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(OK)
    except OSError as error:
        report(LaunchError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
