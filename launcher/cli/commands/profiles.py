"""`profiles list|show|check|new`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from launcher.cli import options

app = typer.Typer(help="Cluster profiles: list, show, check, create.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, options.JSON] = False) -> None:
    """List the included profiles and your own; broken ones with their errors.

    effnet-launch profiles list
    """
    from launcher import client
    from launcher.cli.output.console import plain_table, print_json, screen

    entries = [entry for entry in client.list_profiles() if not entry.is_hidden]
    if as_json:
        keys = ("name", "path", "own", "errors", "description")
        print_json([{key: getattr(entry, key) for key in keys} for entry in entries])
        return
    table = plain_table("profile", "ranks>", "device", "start", "description*")
    for entry in entries:
        profile = entry.profile
        if profile is None:
            table.add_row(entry.name, "–", "–", "–", f"broken: {len(entry.errors)} problems")
        else:
            target, method = profile.device_target.value, profile.start_method.value
            ranks = str(profile.world_size)
            table.add_row(entry.name, ranks, target, method, entry.description)
    screen().print(table)
    screen().print(f"put your own profiles into {client.user_profiles_directory()}", style="dim")


@app.command()
def show(
    profile: Annotated[str, options.PROFILE],
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Print a profile: its file, or with --json what it resolves to.

    effnet-launch profiles show local-cpu
    """
    from launcher import client
    from launcher.core.profile.load import without_secrets
    from launcher.core.text.terminal import clean_lines, escape_json

    found = client.find_profile(profile)
    if as_json:
        print(escape_json(found.to_json()))
        return
    entry = next((item for item in client.list_profiles() if item.name == found.name), None)
    text = Path(entry.path if entry else profile).expanduser().read_text(encoding="utf-8")
    text = without_secrets(text, found)
    print(clean_lines(text) if sys.stdout.isatty() else text, end="")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="TOML files; default: all of your own")] = [],  # noqa: B006
) -> None:
    """Check profiles and print every error with its file, key and what was expected.

    effnet-launch profiles check my-cluster.toml
    """
    from launcher import client
    from launcher.cli.output.console import errors, screen

    if files:
        entries = [client.read_profile(file.expanduser(), own=True) for file in files]
    else:
        entries = [entry for entry in client.list_profiles() if entry.own]
    if not entries:
        where = client.user_profiles_directory()
        screen().print(f"no profile of your own in {where}", soft_wrap=True)
        screen().print("create one: effnet-launch profiles new NAME")
    wrong = False
    for entry in entries:
        problems = entry.errors
        if entry.profile is not None:
            problems = client.check_settings(entry.profile, name=entry.path)
        for problem in problems:
            errors().print(problem)
        if not problems:
            screen().print(f"{entry.path}: ok")
        wrong = wrong or bool(problems)
    if wrong:
        raise typer.Exit(2)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="name of the new profile")],
    copy_of: Annotated[str, typer.Option("--like", help="profile to begin with")] = "local-cpu",
    ranks: Annotated[int, typer.Option(help="ranks on each node; 0: ask, or as in --like")] = 0,
    data: Annotated[str, options.DATA] = "",
) -> None:
    """Create a profile from another one; on a terminal it asks for missing values.

    effnet-launch profiles new my-box --like local-cpu --ranks 4 --data ~/data/digits
    """
    from launcher.cli.commands.new_profile import write_new

    path = write_new(name, copy_of, ranks, data)
    typer.echo(f"{path}\ncheck it: effnet-launch profiles check {path}")
