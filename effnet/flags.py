"""Flags in the reference's spelling, with underscores, and in the usual one, with dashes."""

from __future__ import annotations

import argparse
from typing import Any


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
