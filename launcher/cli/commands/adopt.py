"""`adopt`: a run directory that was copied or moved becomes one that can be acted on."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from launcher.core.profile.model import Profile

REFUSED = 4


def adopt(
    run: Annotated[str, typer.Argument(help="id of a run, or the path of its directory")],
    yes: Annotated[bool, options.YES] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Allow stop, resume, jobs, note and prune for a run directory that was copied or moved.

    Runs that were started here need no adoption. The directory must be yours, and others must not
    be able to change it. Prints what a resume would execute on which node, and asks first. Nothing
    is started.

    effnet-launch adopt ~/copies/local-cpu-20260102-101500-1a2b

    effnet-launch adopt ./local-cpu-20260102-101500-1a2b --yes --json
    """
    from launcher import client
    from launcher.cli.output.console import print_json, screen

    reader = client.open_run(run)
    profile = client.profile_of(reader)
    if not as_json:
        screen().print(f"{reader.paths.root}: `resume` and jobs execute this as you:")
        for line in _lines(profile):
            screen().print(line, soft_wrap=True)
    is_wanted = yes or (not as_json and sys.stdin.isatty() and typer.confirm("Adopt it?"))
    if is_wanted:
        client.adopt(reader)
    if as_json:
        nodes = [
            {
                "node": node.label,
                "address": node.address,
                "user": node.user,
                "python": node.python,
                "setup": node.setup,
            }
            for node in profile.nodes
        ]
        path = str(reader.paths.root)
        print_json({"run": reader.run, "path": path, "nodes": nodes, "adopted": is_wanted})
    elif is_wanted:
        screen().print(f"{reader.run} is adopted", soft_wrap=True)
    raise typer.Exit(0 if is_wanted else REFUSED)


def _lines(profile: Profile) -> list[str]:
    """What is executed on which node."""
    from launcher.cli.output.console import printable

    lines = []
    for node in profile.nodes:
        where = "this machine" if node.is_local else f"{node.address}, by SSH"
        lines.append(f"  {printable(node.label)} ({printable(where)})")
        lines += [f"    $ {printable(line)}" for line in node.setup]
        lines.append(f"    {printable(node.python or 'this Python')} -m effnet")
    if profile.notify.command:
        command = printable(shlex.join(profile.notify.command))
        lines.append(f"  for notifications: $ {command}")
    for name in profile.environment:
        lines.append(f"  sets {printable(name)}")
    return lines
