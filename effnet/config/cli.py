"""`python -m effnet config check`: what is wrong with a configuration, without training.

Neither MindSpore nor NumPy is loaded: a launcher asks this before it starts a rank.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from effnet import flags
from effnet.config import toml
from effnet.config.defaults import TARGETS
from effnet.config.load import Resolved, resolve
from effnet.config.values import ConfigError

STANDARD_INPUT = "-"

_EXAMPLES = """\
examples:
  python -m effnet config check --config recipe.toml
  python -m effnet config check --config recipe.toml --set batch_size=32 --device_target GPU
  python -m effnet config check --config - --json

All errors are named at once, with file and line, and the nearest known name. To see all values
with where they come from: python -m effnet train --print_config
"""


def add_arguments(subparsers: Any) -> None:
    """Add the `config` command to the trainer's commands."""
    command = subparsers.add_parser(
        "config",
        help="check a configuration",
        description="Check a training configuration; nothing is trained.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    actions = command.add_subparsers(dest="action", required=True, metavar="{check}")
    check = actions.add_parser(
        "check",
        help="name everything that is wrong",
        description="Name everything that is wrong with a configuration; exit code 2 if anything.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add(check, "config", metavar="FILE|-", help="TOML file of keys; `-`: standard input")
    flags.add(
        check,
        "config_name",
        metavar="TEXT",
        default="standard input",
        help="what messages call standard input",
    )
    flags.add(check, "set", metavar="KEY=VALUE", action="append", default=[], help="one key")
    flags.add(check, "device_target", metavar="|".join(TARGETS), help="whose defaults are meant")
    check.add_argument("--json", action="store_true", help="print problems and notes as JSON")


def run(args: argparse.Namespace) -> int:
    """Carry out `config check`; raises `ConfigError` unless the answer is JSON."""
    try:
        resolved = _resolve(args)
    except ConfigError as error:
        if not args.json:
            raise
        _answer([{"where": p.where, "what": p.what} for p in error.problems], ())
        return 2
    if args.json:
        _answer([], resolved.notes)
    else:
        for note in resolved.notes:
            print(f"note: {note}")
        print("ok")
    return 0


def _resolve(args: argparse.Namespace) -> Resolved:
    given = {"device_target": args.device_target}
    if args.config != STANDARD_INPUT:
        return resolve(toml_path=args.config, sets=args.set, flags=given)
    values, _ = toml.parse(sys.stdin.read(), args.config_name)
    return resolve(sets=args.set, flags=given, base=values, base_name=args.config_name)


def _answer(problems: list[Mapping[str, str]], notes: tuple[str, ...]) -> None:
    print(json.dumps({"problems": problems, "notes": notes}))
