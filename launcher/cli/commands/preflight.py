"""`preflight`: a row a check and node, as they come in; and what `start` does of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.core.checks.row import Action, Row
    from launcher.core.profile.model import Profile

MARKS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "·"}
STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
CANNOT_BE_USED = 6


def register(app: typer.Typer) -> None:
    app.command()(preflight)


def preflight(
    profile: Annotated[str, options.PROFILE],
    settings: Annotated[list[str], options.SET] = [],  # noqa: B006 typer copies it
    data: Annotated[str, options.DATA] = "",
    fix: Annotated[
        bool, typer.Option("--fix", help="mend what is safe to mend, then look again")
    ] = False,
    ignore: Annotated[list[str], options.IGNORE] = [],  # noqa: B006
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="only what is not green")] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Look at all nodes of a profile at once: can it be started, and what is in the way?

    A row a check and node, with a hint how to mend what is red. Nothing is changed, except by
    --fix: it installs this very version of effnet-tui where there is another or none, leaves all
    other packages alone, and makes working directories.

    effnet-launch preflight local-cpu

    effnet-launch preflight cpu-2-nodes-ssh --fix

    effnet-launch preflight ascend-2x8 --ignore clock --json
    """
    from launcher import client
    from launcher.cli.output.console import print_json, screen
    from launcher.core.checks.row import checked_names

    found = client.find_profile(profile)
    ignored = checked_names(ignore)
    console = screen()
    said: list[str] = []

    def told(line: str) -> None:
        said.append(line)
        if not as_json:
            console.print(f"fix: {line}", markup=False, soft_wrap=True)

    rows = client.preflight(
        found,
        sets=options.pairs(settings),
        data_path=data,
        take=(lambda row: None) if as_json else printer(console, found, quiet=quiet),
        ask=options.ask_on_terminal(),
        fix=fix,
        told=told,
    )
    red = client.blocking(rows, ignored)
    if as_json:
        print_json({"ok": not red, "rows": rows, "ignored": ignored, "fixed": said})
    else:
        console.print(summary(rows, red, profile), style="red" if red else "green", markup=False)
    raise typer.Exit(CANNOT_BE_USED if red else 0)


def printer(console: Console, profile: Profile, *, quiet: bool) -> Callable[[Row], None]:
    """Prints each row as it comes; in columns, which need not wait for the longest."""
    from launcher.core.checks.row import CHECKS

    longest = max(CHECKS, key=len)
    return columns(console, longest, [node.label for node in profile.nodes], quiet=quiet)


def columns(
    console: Console, longest_check: str, labels: Sequence[str], *, quiet: bool
) -> Callable[[Row], None]:
    """Prints a row with its mark, check, node (where there are several) and hint."""
    from launcher.core.checks.row import NOT_ASKED, RowState

    checks, nodes = len(longest_check), max(map(len, labels))
    named = len(labels) > 1

    def show(row: Row) -> None:
        if (quiet and row.state in (RowState.OK, RowState.SKIPPED)) or row.text == NOT_ASKED:
            return
        place = f"{row.node:<{nodes}}  " if named else ""
        style = STYLES[row.state.value]
        line = f"{MARKS[row.state.value]} {row.check:<{checks}}  {place}{_printable(row.text)}"
        console.print(line, style=style, markup=False, soft_wrap=True)
        if row.hint and row.state in (RowState.FAILED, RowState.WARNING):
            console.print(f"  → {_printable(row.hint)}", markup=False, soft_wrap=True)

    return show


def summary(rows: Sequence[Row], red: Sequence[Row], profile: str) -> str:
    """The last line: what stands in the way, and the next command."""
    from launcher.core.checks.row import NOT_ASKED

    if not red:
        return f"ready: {len(rows)} checks, nothing in the way; effnet-launch start {profile}"
    can_fix = "; effnet-launch preflight --fix mends some" if any(row.fix for row in red) else ""
    names = ", ".join(dict.fromkeys(row.check for row in red))
    unasked = sum(row.text == NOT_ASKED for row in rows)
    unasked_text = f", {unasked} could not be asked" if unasked else ""
    return f"not ready: {len(red)} of {len(rows)} checks are red ({names}){unasked_text}{can_fix}"


def require_green(
    profile: Profile,
    sets: Sequence[tuple[str, str]],
    data_path: str,
    ignored: Sequence[str],
    ask: Callable[[str], bool] | None,
    action: Action = "start",
) -> None:
    """What `start` and `resume` do first: warnings go to stderr.

    Raises PreflightError when a row is red.
    """
    from launcher import client
    from launcher.cli.output.console import errors
    from launcher.core.checks.row import RowState

    rows = client.preflight(profile, sets=sets, data_path=data_path, ask=ask)
    red = client.blocking(rows, ignored)
    show = printer(errors(), profile, quiet=True)
    for row in rows:
        if row.state is not RowState.FAILED or row not in red:
            show(row)
    refused = client.refusal(rows, profile.name, ignored, action)
    if refused is not None:
        raise refused


def _printable(text: str) -> str:
    from launcher.cli.output.console import printable

    return printable(text.replace("\n", " / "))
