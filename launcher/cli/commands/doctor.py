"""`doctor`: why MindSpore does not see a device, and how to fix it."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.cli import options


def doctor(
    profile: Annotated[
        str, typer.Argument(help="check the nodes of this profile; default: this machine")
    ] = "",
    target: Annotated[
        str,
        typer.Option(help="GPU, Ascend or CPU; default: the profile's, or what this machine has"),
    ] = "",
    fix: Annotated[
        bool,
        typer.Option("--fix", help="GPU: install CUDA 11.8's libraries into the environment"),
    ] = False,
    quiet: Annotated[bool, options.QUIET] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Find out why MindSpore does not see a GPU or an Ascend device, and how to fix it.

    Checks each part in the order in which MindSpore's loader needs it. For a GPU that is CUDA_HOME,
    the release that nvcc prints, eight libraries, the driver. --fix installs the libraries from
    PyPI and an nvcc that prints its release into the environment of the interpreter (3 GB), and
    prints the line for the profile.

    effnet-launch doctor --target GPU

    effnet-launch doctor gpu-1x8 --fix

    effnet-launch doctor ascend-2x8 --json
    """
    from launcher import client
    from launcher.cli.commands.preflight import CANNOT_BE_USED, columns
    from launcher.cli.output.console import print_json, printable, screen

    found = client.find_profile(profile) if profile else None
    console = screen()
    fixed: list[str] = []

    def on_fix(line: str) -> None:
        fixed.append(line)
        if not as_json:
            console.print(printable(line), soft_wrap=True)

    names = [node.label for node in found.nodes] if found is not None else ["this-machine"]
    show = columns(console, "libcusolver.so.11", names, quiet=quiet)
    rows = client.doctor(
        found,
        target=target,
        on_row=(lambda row: None) if as_json else show,
        confirm_host=options.confirm_on_terminal(),
        fix=fix,
        on_fix=on_fix,
    )
    red = client.blocking(rows)
    kept = client.kept_by_runs()
    if as_json:
        print_json({"ok": not red, "rows": rows, "fixed": fixed, "kept": kept})
    elif red:
        names = list(dict.fromkeys(row.check for row in red))
        can_fix = "; --fix fixes some" if any(row.fix for row in red) and not fix else ""
        text = f"{len(red)} of {len(rows)} checks failed: {', '.join(names)}{can_fix}"
        console.print(text, style="red")
    else:
        console.print(f"complete: {len(rows)} checks passed", style="green")
    for run, waiting in () if as_json else kept.items():
        text = f"{run}: {waiting.words}: {waiting.hint(run)}"
        console.print(printable(text), style="yellow", soft_wrap=True)
    raise typer.Exit(CANNOT_BE_USED if red else 0)
