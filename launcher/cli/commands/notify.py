"""`notify`: a test notification to everything that a profile names."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.cli import options


def notify(
    profile: Annotated[str, options.PROFILE],
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Send a test notification to the URLs and the command of a profile's [notify].

    They are sent from this machine. A run's notifications are sent by its supervisor.

    effnet-launch notify my-cluster
    """
    from launcher import client
    from launcher.cli.output.console import print_json, printable, screen

    results = client.send_test_notice(client.find_profile(profile))
    if as_json:
        print_json([{"target": name, "problem": problem or None} for name, problem in results])
    for name, problem in () if as_json else results:
        screen().print(f"{printable(name)}: {printable(problem) or 'sent'}", soft_wrap=True)
    if not results and not as_json:
        screen().print(
            f"{printable(profile)} has no [notify]; add one to the profile, or write"
            f" {printable(str(client.user_notify_file()))} for all profiles without one",
            soft_wrap=True,
        )
    raise typer.Exit(1 if not results or any(problem for _, problem in results) else 0)
