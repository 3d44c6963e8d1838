"""Flags in the reference's spelling, with underscores, and in the usual one, with dashes."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An error is one line and where to read more, not thirty lines of usage before it."""

    def __init__(self, *given: Any, **known: Any) -> None:
        # `--epoch` for `--epoch_size` would be ambiguous with `--epoch-size`, the same flag.
        known.setdefault("allow_abbrev", False)
        super().__init__(*given, **known)

    def error(self, message: str) -> NoReturn:
        """Print `message` and exit with the code of wrong usage."""
        name, _, unknown = message.partition(": ")
        if name == "unrecognized arguments":
            message += _nearest(unknown.split()[0].partition("=")[0], self._spellings())
        elif choice := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", unknown):
            message += _nearest(choice[1], re.findall(r"[\w.-]+", choice[2]))
        print(f"error: {message}\n  hint: {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def _spellings(self) -> Iterator[str]:
        """Every flag of this command line, those of its commands among them."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._spellings()


def _nearest(unknown: str, known: Iterable[str]) -> str:
    by_case = {word.lower(): word for word in known}
    found = difflib.get_close_matches(unknown.lower(), by_case, n=1)
    return f"; did you mean {by_case[found[0]]}?" if found else ""


def command(
    commands: Any, name: str, about: str, examples: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a command whose `--help` ends with `examples`, printed as they are."""
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=description or f"{about[0].upper()}{about[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made


def actions(
    parent: argparse.ArgumentParser, examples: str, about: Mapping[str, str]
) -> list[argparse.ArgumentParser]:
    """Add one command below `parent` for each name; the chosen name is stored under `action`."""
    metavar = f"{{{','.join(about)}}}"
    commands = parent.add_subparsers(dest="action", required=True, metavar=metavar)
    return [command(commands, name, text, examples) for name, text in about.items()]


def add(parser: argparse._ActionsContainer, name: str, help: str, **known: Any) -> None:
    """Add `--some_flag`, also spelt `--some-flag`; the value is stored under `some_flag`."""
    spellings = [f"--{name}"]
    if "_" in name:
        spellings.append(f"--{name.replace('_', '-')}")
    parser.add_argument(*spellings, dest=name, help=help, **known)


def add_truth(parser: argparse._ActionsContainer, name: str, help: str) -> None:
    """Add a flag that is off by default: `--flag`, `--flag True`, `--flag=False`."""
    known = {"nargs": "?", "const": True, "default": False, "metavar": "True|False"}
    add(parser, name, f"{help} (default: False)", type=truth, **known)


def add_config(parser: argparse._ActionsContainer) -> None:
    """Add `--config` and `--set`."""
    add(parser, "config", "TOML file of configuration keys", metavar="FILE")
    add(
        parser,
        "set",
        "set one configuration key; can be repeated",
        metavar="KEY=VALUE",
        action="append",
        default=[],
    )


def add_device_id(parser: argparse._ActionsContainer) -> None:
    """Add `--device_id`."""
    help = "device number (default: the environment variable DEVICE_ID, or 0)"
    add(parser, "device_id", help, type=int, metavar="N")


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add `--weights model|ema`."""
    help = "which weights to use (default: the moving average, ema, if the checkpoint has one)"
    add(parser, "weights", help, choices=("model", "ema"))


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    add(parser, "json", "print one JSON object instead of text", action="store_true")


def truth(text: str) -> bool:
    """`True`, `false`, `1`, `no`…: the reference writes `--run_distribute=True`."""
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected True or False, not {text!r}") from None
