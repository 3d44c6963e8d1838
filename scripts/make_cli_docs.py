"""Writes docs/cli.md, the reference of every command and option, from the programs themselves.

python scripts/make_cli_docs.py            write the page
python scripts/make_cli_docs.py --check    exit with 1 when the page is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import typer.main
from written_page import DOCS, table, write_or_check

import effnet.__main__
import launcher.cli.app
import tui.__main__

PAGE = DOCS / "cli.md"
HEAD = """\
# Every command and option

`python scripts/make_cli_docs.py` writes this page from the programs; do not edit it. The tasks are
on the pages under *How-to*. With `--json`, [these fields](reference/json.md) are printed.
"""
FLAGS_NOTE = """\
Flags are listed with underscores, as in the reference. Each can also be written with dashes:
`--batch_size` and `--batch-size` are the same flag.
"""
KEYS_NOTE = "Every key of [the training configuration](configuration.md) is a flag too."
CONFIGURATION_KEYS = "configuration keys (docs/configuration.md)"
COMPLETION = ("install_completion", "show_completion", "help")


def page() -> str:
    parts = [HEAD]
    parts += of_argparse("effnet-tui", tui.__main__.parser(), 2)
    parts += of_argparse("effnet-tui serve", tui.__main__.parser(serves=True), 3)
    parts += of_typer("effnet-launch", typer.main.get_command(launcher.cli.app.app), 2)
    parts += of_argparse("python -m effnet", effnet.__main__.parser(), 2, FLAGS_NOTE)
    return "\n".join(parts).rstrip("\n") + "\n"


def of_argparse(
    name: str, parser: argparse.ArgumentParser, level: int, note: str = "", above: str = ""
) -> Iterator[str]:
    """A section for `parser`, and one for each of its commands.

    `above` is the epilog of the command that it belongs to; what it repeats is left out.
    """
    yield f"{'#' * level} {name}\n"
    yield f"{parser.description}\n"
    if note:
        yield note
    rows, commands, notes = [], [], []
    for group in parser._action_groups:
        if group.title == CONFIGURATION_KEYS:
            notes.append(KEYS_NOTE + "\n")
            continue
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                commands.append(action)
            elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
                rows.append(_argparse_row(action))
    yield from _table(rows)
    yield from notes
    epilog = parser.epilog or ""
    if epilog.startswith("examples:") and epilog != above:
        lines = epilog.splitlines()[1:]
        yield _block(line.removeprefix("  ") for line in lines if line.startswith(" "))
        said = " ".join(line for line in lines if not line.startswith(" ")).strip()
        if said:
            yield f"{said}\n"
    for action in commands:
        for command, sub in action.choices.items():
            yield from of_argparse(f"{name} {command}", sub, min(level + 1, 4), above=epilog)


def _argparse_row(action: argparse.Action) -> tuple[str, str]:
    spelling = ", ".join(f for f in action.option_strings if "-" not in f.lstrip("-"))
    spelling = spelling or ", ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
    if not value and action.nargs != 0:
        value = "N" if action.type is int else action.dest.upper()
    meaning = action.help or ""
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else str(value), meaning
    needed = " (required)" if action.required else ""
    return f"{spelling} {value if action.nargs != 0 else ''}".strip(), f"{meaning}{needed}"


def of_typer(name: str, command: Any, level: int) -> Iterator[str]:
    """A section for `command`, and one for each of its commands."""
    yield f"{'#' * level} {name}\n"
    paragraphs = [" ".join(part.split()) for part in str(command.help).split("\n\n")]
    examples = [text for text in paragraphs if text.startswith("effnet-launch ")]
    for text in paragraphs:
        if text not in examples:
            yield f"{text}\n"
    shown = [p for p in command.params if p.name not in COMPLETION and not p.hidden]
    yield from _table(_typer_row(parameter) for parameter in shown)
    if examples:
        yield _block(examples)
    for sub_name, sub in getattr(command, "commands", {}).items():
        yield from of_typer(f"{name} {sub_name}", sub, min(level + 1, 4))
    if level == 2 and command.epilog:
        yield f"{command.epilog}\n"


def _typer_row(parameter: Any) -> tuple[str, str]:
    meaning = parameter.help
    if parameter.param_type_name == "argument":
        is_optional = not parameter.required
        spelling = f"[{parameter.name.upper()}]" if is_optional else parameter.name.upper()
    else:
        spelling = ", ".join(parameter.opts)
        if not parameter.is_flag:
            spelling += f" {parameter.metavar or ('N' if _is_int(parameter) else 'TEXT')}"
    if parameter.default not in (None, "", False, []) and not parameter.multiple:
        meaning += f" (default: `{parameter.default}`)"
    return spelling, meaning


def _is_int(parameter: Any) -> bool:
    return isinstance(parameter.default, int) and not isinstance(parameter.default, bool)


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    shown = [(f"`{left}`", right) for left, right in rows]
    if text := table(("option", "meaning"), shown).replace("%%", "%"):
        yield text


def _block(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines) + "\n"


def main() -> int:
    return write_or_check(PAGE, page)


if __name__ == "__main__":
    sys.exit(main())
