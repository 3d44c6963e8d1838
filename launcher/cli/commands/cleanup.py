"""`clean`, `prune`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from launcher.client import Leftovers


def clean(
    yes: Annotated[bool, options.YES] = False,
    node: Annotated[list[str], typer.Option(help="only this node; repeatable")] = [],  # noqa: B006
    here: Annotated[bool, typer.Option("--here", help="only this machine")] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Find and remove leftovers of runs, here and on their nodes (for example after a power cut).

    These are processes with a token of a run and no supervisor, agents of runs that are over,
    shared memory of ranks that ended, and jobs of Slurm that no run knows of. Live runs
    and other programs are not touched.

    effnet-launch clean

    effnet-launch clean --node node1 --yes
    """
    from launcher import client
    from launcher.cli.output.console import errors, print_json, printable, screen
    from launcher.cli.output.interrupt import on_ctrl_c
    from launcher.core.text.figures import size_bytes

    with client.connections() as nodes:
        with on_ctrl_c(lambda: "nothing was ended or removed."):
            found = client.find_leftovers(nodes, node, here_only=here)
        count = sum(len(item.strays) for item in found.values())
        for label, item in found.items():
            if item.trouble:
                who = f"{label}: " if item.strays else f"{label} was not cleaned: "
                who = who if label else ""
                errors().print(f"{who}{item.trouble}", style="yellow")
        if count and not yes and not as_json:
            _show(found)
            if not sys.stdin.isatty() or not typer.confirm("End these?"):
                raise typer.Exit(4)
        is_wanted = count and (yes or not as_json)
        with on_ctrl_c(lambda: "some leftovers may be there still. Find them: effnet-launch clean"):
            left = client.clean(nodes, found) if is_wanted else {}
    still = sum(len(item.strays) for item in left.values())
    cache = client.user_cache()
    if as_json:
        print_json({**_plain(found, left), "cache": cache})
    else:
        screen().print(f"{count} found, {still} left")
        if cache.bytes and not node:
            # Nothing of it is a leftover, but people look here for what takes space.
            text = (
                f"cache: {size_bytes(cache.bytes)} in {cache.path}; it may be deleted at any time"
            )
            screen().print(printable(text), style="dim", soft_wrap=True)
    if still or any(item.trouble for item in left.values()):
        raise typer.Exit(1)
    raise typer.Exit(6 if any(item.trouble for item in found.values()) else 0)


def prune(
    keep: Annotated[int, typer.Option(help="how many of the newest to keep", min=0)] = 20,
    run: Annotated[list[str], typer.Option("--run", help="remove only this one; repeatable")] = [],  # noqa: B006
    here: Annotated[bool, typer.Option("--here", help="keep what is on its nodes")] = False,
    yes: Annotated[bool, options.YES] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Remove old runs with their logs and checkpoints, here and on their nodes. Live runs stay.

    effnet-launch prune --keep 5

    effnet-launch prune --run local-cpu-20260102-101500-1a2b --yes
    """
    from launcher import client
    from launcher.cli.output.console import errors, print_json, screen
    from launcher.cli.output.interrupt import on_ctrl_c, prune_text
    from launcher.errors import NodeError

    if run:
        roots = [str(client.open_run(name).paths.root) for name in run]
    else:
        over = [item for item in client.list_runs() if item.status.is_over]
        roots = [item.path for item in over[keep:]]
    if roots and not yes:
        for root in roots:
            screen().print(root)
        if not sys.stdin.isatty() or not typer.confirm(
            f"Delete these {len(roots)} runs permanently?"
        ):
            raise typer.Exit(4)
    with on_ctrl_c(lambda: prune_text(roots)):
        removed, trouble = client.prune(roots, here_only=here)
    for text in trouble:
        errors().print(text, style="yellow")
    if as_json:
        print_json({"removed": removed})
    else:
        screen().print(f"{len(removed)} removed")
    raise typer.Exit(NodeError.exit_code if trouble else 0)


def _show(found: Mapping[str, Leftovers]) -> None:
    from launcher.cli.output.console import plain_table, screen

    table = plain_table("where", "pid>", "run", "what*")
    for label, item in found.items():
        for stray in item.strays:
            pid = str(stray.pid) if stray.pid else stray.kind
            what = stray.what if stray.job else stray.what[:80]
            table.add_row(label or "here", pid, stray.token or stray.run, what)
    screen().print(table)


def _plain(found: Mapping[str, Leftovers], left: Mapping[str, Leftovers]) -> dict[str, object]:
    """`found` and `left`: process ids of this machine; `nodes` and `others`: all else."""

    def pids(items: Mapping[str, Leftovers], label: str) -> list[int]:
        return [stray.pid for stray in items[label].strays if stray.pid] if label in items else []

    others = {
        label or "here": [s.what for s in item.strays if not s.pid] for label, item in found.items()
    }
    nodes = {
        label: {
            "found": pids(found, label),
            "left": pids(left, label),
            "trouble": item.trouble or None,
        }
        for label, item in found.items()
        if label
    }
    return {"found": pids(found, ""), "left": pids(left, ""), "others": others, "nodes": nodes}
