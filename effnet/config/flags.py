"""A flag for each configuration key, with its default, unit and range in `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from effnet import flags
from effnet.config.docs import allowed, shown_defaults
from effnet.config.schema import keys

_METAVARS = {int: "N", float: "NUMBER", bool: "True|False", str: "TEXT"}


def add_keys(
    parser: argparse.ArgumentParser,
    title: str,
    names: Iterable[str] = (),
    *,
    with_defaults: bool = True,
) -> None:
    """Add a group of flags named `title` for the keys in `names`, by default all of them."""
    group = parser.add_argument_group(title)
    for name in names or keys():
        key = keys()[name]
        facts = [allowed(key)] if key.choices or key.low is not None else []
        if key.unit:
            facts.append(key.unit)
        if with_defaults:
            facts.append(_default(name))
        text = key.doc + (f" [{'; '.join(facts)}]" if facts else "")
        flags.add(group, f"{name} {_METAVARS[key.kind]}", text.replace("%", "%%"), type=str)


def _default(name: str) -> str:
    """One value where all targets agree, else the value of each."""
    values = shown_defaults(name)
    if len(set(values.values())) == 1:
        return f"default {values['CPU']}"
    return "default " + ", ".join(f"{value} ({target})" for target, value in values.items())
