"""Flags in the reference's spelling, with underscores, and in the usual one, with dashes."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An error is one line and where to read more, not thirty lines of usage before it."""

    def __init__(self, *given: Any, **known: Any) -> None:
        # `--epoch` for `--epoch_size` would be ambiguous with `--epoch-size`, the same flag.
        known.setdefault("allow_abbrev", False)
        super().__init__(*given, **known)

    def error(self, message: str) -> NoReturn:
        """Print `message` and leave with the exit code of wrong usage."""
        name, _, unknown = message.partition(": ")
        if name == "unrecognized arguments":
            message += _nearest(unknown.split()[0].partition("=")[0], self._spellings())
        elif choice := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", unknown):
            message += _nearest(choice[1], re.findall(r"[\w.-]+", choice[2]))
        # Standard error of a process that is started by another may be its log.
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


def add(parser: argparse._ActionsContainer, name: str, **known: Any) -> None:
    """Add `--some_flag`, also spelt `--some-flag`; the value is stored under `some_flag`."""
    spellings = [f"--{name}"]
    if "_" in name:
        spellings.append(f"--{name.replace('_', '-')}")
    parser.add_argument(*spellings, dest=name, **known)


def truth(text: str) -> bool:
    """`True`, `false`, `1`, `no`…: the reference writes `--run_distribute=True`."""
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected True or False, not {text!r}") from None
