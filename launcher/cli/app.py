"""`effnet-launch`: the entry point. Exit codes: docs/reference/exit-codes.md.

Commands import what they need when they run, so that `--help` and completion are fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from launcher.cli.commands import (
    actions,
    adopt,
    cleanup,
    compare,
    doctor,
    jobs,
    notify,
    preflight,
    profiles,
    reading,
    sharing,
    stacks,
    tables,
    watch,
)
from launcher.errors import INTERRUPTED, InvalidError, LaunchError, UsageError

_Wrong: type[Any] = typer.BadParameter.__bases__[0]
"""Any wrong usage: click's class, which typer has under another name in each version."""


class Commands(TyperGroup):
    """Wrong usage is printed as every other error, and where to read more."""

    def make_context(self, *given: Any, **known: Any) -> Any:
        return _in_our_style(lambda: super(Commands, self).make_context(*given, **known))

    def invoke(self, context: Any) -> Any:
        return _in_our_style(lambda: super(Commands, self).invoke(context))


def _in_our_style(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except _Wrong as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        command = error.ctx.command_path if error.ctx else "effnet-launch"
        message = error.format_message().rstrip(".")
        message = message[:1].lower() + message[1:]
        report(UsageError(message, f"{command} --help"))
        raise SystemExit(UsageError.exit_code) from None


app = typer.Typer(
    cls=Commands,
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
for command in (
    *(actions.start, actions.plan, actions.stop, actions.resume, actions.note),
    *(preflight.preflight, doctor.doctor),
    *(reading.runs, reading.status, reading.attach, reading.logs, reading.events, stacks.stacks),
    watch.watch,
    compare.compare,
    *(jobs.eval_, jobs.export, jobs.infer),
    *(cleanup.clean, cleanup.prune, adopt.adopt, notify.notify),
    *(sharing.report, sharing.bundle, sharing.tensorboard, sharing.metrics, sharing.reporter),
):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(profiles.app, name="profiles")
app.add_typer(tables.rank_tables, name="ranktable")
app.add_typer(tables.hostfiles, name="hostfile")


def _version(is_given: bool) -> None:
    if is_given:
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


def report(error: LaunchError) -> None:
    """Prints the error and its hint on stderr."""
    from launcher.cli.output.console import errors

    console = errors()
    console.print(f"error: {error.summary}", style="bold red")
    for problem in error.problems if isinstance(error, InvalidError) else ():
        console.print(f"  {problem}")
    if error.hint:
        console.print("  → " + error.hint.replace("\n", "\n    "))


def main() -> None:
    try:
        app()
    except LaunchError as error:
        report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # `effnet-launch logs … | head`: the reader has enough. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except OSError as error:
        report(LaunchError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))
        sys.exit(LaunchError.exit_code)


if __name__ == "__main__":
    main()
