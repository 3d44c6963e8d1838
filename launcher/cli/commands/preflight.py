"""`preflight`: one row for each check and node; `start` and `resume` print its warnings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.core.checks.row import Row
    from launcher.core.profile.model import Profile
    from launcher.core.run.requests import Settings

MARKS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "·"}
STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
CANNOT_BE_USED = 6
CALIBRATED_STEPS = 10


def preflight(
    profile: Annotated[str, options.PROFILE],
    settings: Annotated[list[str], options.SETTINGS] = [],  # noqa: B006 typer copies it
    data: Annotated[str, options.DATA] = "",
    fix: Annotated[
        bool, typer.Option("--fix", help="fix what is safe to fix, then check again")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="then train a few steps, save nothing, and keep their times for `plan`",
        ),
    ] = False,
    ignore: Annotated[list[str], options.IGNORED] = [],  # noqa: B006
    quiet: Annotated[bool, options.QUIET] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Check all nodes of a profile at once: can it be started, and what prevents it?

    One row for each check and node; a failed one has a hint. Only --fix changes something: it
    installs the same version of effnet-tui as here, no other packages, and creates working
    directories.

    --calibrate starts a run of a few steps when no check failed. `effnet-launch plan` then
    estimates how long a whole run takes.

    effnet-launch preflight local-cpu

    effnet-launch preflight cpu-2-nodes-ssh --fix

    effnet-launch preflight ascend-2x8 --ignore clock --json

    effnet-launch preflight local-cpu --calibrate
    """
    from launcher import client
    from launcher.cli.output.console import print_json, screen
    from launcher.core.checks.row import checked_names

    found = client.find_profile(profile)
    ignored = checked_names(ignore)
    console = screen()
    fixed: list[str] = []

    def on_fix(line: str) -> None:
        fixed.append(line)
        if not as_json:
            console.print(f"fix: {line}", soft_wrap=True)

    rows = client.preflight(
        found,
        settings=options.pairs(settings),
        data_path=data,
        on_row=(lambda row: None) if as_json else printer(console, found, quiet=quiet),
        confirm_host=options.confirm_on_terminal(),
        fix=fix,
        on_fix=on_fix,
    )
    red = client.blocking(rows, ignored)
    if as_json:
        print_json({"ok": not red, "rows": rows, "ignored": ignored, "fixed": fixed})
    else:
        console.print(summary(rows, red, profile), style="red" if red else "green")
    if red or not calibrate:
        raise typer.Exit(CANNOT_BE_USED if red else 0)
    raise typer.Exit(_calibrate(found, profile, options.pairs(settings), data, as_json))


def _calibrate(profile: Profile, name: str, settings: Settings, data: str, as_json: bool) -> int:
    """A run of a few steps, and its record. -> exit code."""
    from launcher import client
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import errors, screen
    from launcher.cli.output.plan_text import print_estimate
    from launcher.core.checks.row import NOT_THE_TRAINER
    from launcher.errors import UsageError

    if profile.program is not None:
        raise UsageError("--calibrate " + NOT_THE_TRAINER)
    request = client.StartRequest(settings=tuple(settings), data_path=data)
    own = (("calibrate_steps", str(CALIBRATED_STEPS)), ("save_checkpoint", "False"))
    short = replace(request, settings=(*own, *request.settings), preflight=False)
    run = client.start(
        profile,
        replace(short, note="calibration"),
        confirm_host=options.confirm_on_terminal(),
    )
    console = errors() if as_json else screen()
    console.print(f"run {run}: {CALIBRATED_STEPS} steps")
    reader = client.open_run(run)
    code = following.wait_until_over(reader, console)
    if code:
        return code
    path = client.keep_calibration(reader, profile, request)
    console.print(f"kept in {path}", soft_wrap=True)
    print_estimate(client.configuration(profile, request).estimate, name, console)
    return 0


def printer(console: Console, profile: Profile, *, quiet: bool) -> Callable[[Row], None]:
    """Prints each row as it comes, in columns of fixed width."""
    from launcher.core.checks.expected import expected
    from launcher.core.checks.row import CHECKS

    longest = max(CHECKS, key=len)
    labels = list(dict.fromkeys(label for _, label in expected(profile)))
    return columns(console, longest, labels, quiet=quiet)


def columns(
    console: Console, longest_check: str, labels: Sequence[str], *, quiet: bool
) -> Callable[[Row], None]:
    """Prints a row with its mark, check, node (where there are several) and hint."""
    from launcher.cli.output.console import printable
    from launcher.core.checks.row import NOT_ASKED, RowState

    checks, nodes = len(longest_check), max(map(len, labels))
    named = len(labels) > 1

    def show(row: Row) -> None:
        if (quiet and row.state in (RowState.OK, RowState.SKIPPED)) or row.text == NOT_ASKED:
            return
        place = f"{row.node:<{nodes}}  " if named else ""
        style = STYLES[row.state.value]
        line = f"{MARKS[row.state.value]} {row.check:<{checks}}  {place}{printable(row.text)}"
        console.print(line, style=style, soft_wrap=True)
        if row.hint and row.state in (RowState.FAILED, RowState.WARNING):
            console.print(f"  → {printable(row.hint)}", soft_wrap=True)

    return show


def summary(rows: Sequence[Row], red: Sequence[Row], profile: str) -> str:
    """The last line: what prevents a start, and the next command."""
    from launcher.core.checks.row import NOT_ASKED

    if not red:
        return f"ready: {len(rows)} checks, none failed; effnet-launch start {profile}"
    can_fix = "; effnet-launch preflight --fix fixes some" if any(row.fix for row in red) else ""
    names = ", ".join(dict.fromkeys(row.check for row in red))
    unchecked = sum(row.text == NOT_ASKED for row in rows)
    more = f", {unchecked} could not be checked" if unchecked else ""
    return f"not ready: {len(red)} of {len(rows)} checks failed ({names}){more}{can_fix}"


def print_warnings(profile: Profile, ignored: Sequence[str]) -> Callable[[Sequence[Row]], None]:
    """For `client.start` and `client.resume`: prints what does not stop them on stderr."""

    def show(rows: Sequence[Row]) -> None:
        from launcher import client
        from launcher.cli.output.console import errors

        failed = client.blocking(rows, ignored)
        print_row = printer(errors(), profile, quiet=True)
        for row in rows:
            if row not in failed:
                print_row(row)

    return show
