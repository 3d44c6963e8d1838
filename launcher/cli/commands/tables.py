"""`ranktable make|lint` and `hostfile make|lint`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options

if TYPE_CHECKING:
    from launcher.core.profile.model import Chip
    from launcher.core.tables.finding import Finding

OUTPUT = typer.Option("--output", "-o", help="write it to this file, instead of printing it")
FILE = typer.Argument(help="the file to check", exists=True, dir_okay=False, readable=True)

rank_tables = typer.Typer(help="Rank tables, as HCCL reads them.", no_args_is_help=True)
hostfiles = typer.Typer(help="Hostfiles, as OpenMPI reads them.", no_args_is_help=True)


@rank_tables.command("make")
def make_rank_table(
    profile: Annotated[str, options.PROFILE],
    output: Annotated[Path | None, OUTPUT] = None,
) -> None:
    """Make the rank table of a profile.

    effnet-launch ranktable make ascend-2x8 -o hccl_2s_16p.json
    """
    from launcher import client
    from launcher.core.plan.model import RunContext
    from launcher.core.plan.ranktable import rank_table

    found = client.find_profile(profile)
    _write(rank_table(found, RunContext(run="", run_directory="")).to_json(), output)


@rank_tables.command("lint")
def lint_rank_table(
    file: Annotated[Path, FILE],
    chip: Annotated[str, typer.Option(help="the chip that it is for: 910, 910B, A3")] = "",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Find everything in a rank table that HCCL would refuse or misread.

    effnet-launch ranktable lint hccl_8p.json
    """
    from launcher.core.tables.rank_table_lint import lint_text

    _show(lint_text(file.read_bytes(), _chip(chip)), as_json)


@hostfiles.command("make")
def make_hostfile(
    profile: Annotated[str, options.PROFILE],
    output: Annotated[Path | None, OUTPUT] = None,
) -> None:
    """Make the hostfile of a profile, the same for OpenMPI 4 and 5.

    effnet-launch hostfile make gpu-2x8-mpirun
    """
    from launcher import client
    from launcher.core.profile.placement import place
    from launcher.core.tables import hostfile

    _write(hostfile.make_hostfile(place(client.find_profile(profile))), output)


@hostfiles.command("lint")
def lint_hostfile(
    file: Annotated[Path, FILE],
    openmpi: Annotated[int, typer.Option(help="major version of OpenMPI", min=4, max=5)] = 5,
    ranks: Annotated[int, typer.Option(help="number of ranks; 0: not known")] = 0,
    keep_fqdn: Annotated[
        bool, typer.Option("--keep-fqdn", help="mpirun is run with …_keep_fqdn_hostnames")
    ] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Find everything in a hostfile that OpenMPI would refuse or misread.

    effnet-launch hostfile lint hosts --openmpi 4 --ranks 16
    """
    from launcher.core.tables import hostfile

    # Line ends stay as they are: OpenMPI refuses CRLF.
    text = file.read_bytes().decode("utf-8", errors="replace")
    _show(hostfile.lint_hostfile(text, openmpi, ranks or None, keep_fqdn), as_json)


def _chip(name: str) -> Chip | None:
    from launcher.core.profile.model import Chip
    from launcher.errors import UsageError

    if not name:
        return None
    for chip in Chip:
        if chip.value.lower() == name.lower():
            return chip
    raise UsageError(f"no chip {name!r}", f"Known: {', '.join(chip.value for chip in Chip)}.")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def _show(findings: Iterable[Finding], as_json: bool) -> None:
    """Exit code 1 when any finding stops a run."""
    from launcher.cli.output.console import print_json, screen

    found = list(findings)
    if as_json:
        print_json(found)
    else:
        for finding in found:
            style = "red" if finding.is_error else "yellow"
            screen().print(str(finding), style=style)
        if not found:
            screen().print("ok: nothing found")
    if any(finding.is_error for finding in found):
        raise typer.Exit(1)
