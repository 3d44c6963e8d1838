"""Options and arguments that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from launcher.errors import UsageError

PROFILE = typer.Argument(help="name of a profile, or path of its TOML file", show_default=False)
RUN = typer.Argument(help="id of a run, the beginning of one, `latest`, or a path")
JSON = typer.Option("--json", help="print JSON")
FOLLOW = typer.Option("--follow", "-f", help="show progress to the end")
SET = typer.Option(
    "--set", metavar="KEY=VALUE", help="a key of the training configuration; may be repeated"
)
DATA = typer.Option("--data", "--dataset_path", help="data folder, instead of the profile's")
NEW_DATA = typer.Option("--data", "--dataset_path", help="data folder, instead of the run's")


IGNORE = typer.Option(
    "--ignore",
    metavar="CHECK",
    help="start although this check is red: CHECK or CHECK@NODE; may be repeated",
)
NO_PREFLIGHT = typer.Option("--no-preflight", help="do not look at the nodes beforehand")


def pairs(settings: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` texts. Raises `UsageError`."""
    found = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(
                f"--set {setting}: expected KEY=VALUE", "For example --set lr_max=0.01"
            )
        found.append((key, value))
    return tuple(found)


def ask_on_terminal() -> Callable[[str], bool] | None:
    """Who answers yes or no; None when nobody sits there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda question: typer.confirm(question, err=True)
