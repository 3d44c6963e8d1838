"""`python -m effnet config check`: check a configuration without training.

It loads neither MindSpore nor NumPy, because a launcher runs it before it starts a rank.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from effnet import flags
from effnet.config import toml
from effnet.config.load import Resolved, resolve
from effnet.config.schema import TARGETS
from effnet.config.values import ConfigError

STANDARD_INPUT, INPUT_NAME = "-", "standard input"

_EXAMPLES = """\
examples:
  python -m effnet config check --config recipe.toml
  python -m effnet config check --config recipe.toml --set batch_size=32 --device_target GPU
  python -m effnet config check --config - --json

`--config -` reads standard input. The command lists all errors at once, each with its file, line
and the most similar known key. To print every value and where it comes from:
python -m effnet train --print_config
"""


def add_arguments(commands: Any) -> None:
    about = "check a configuration without training"
    config = flags.command(commands, "config", about, _EXAMPLES, run)
    what = "list every error of a configuration; exit code 2 if there is one"
    (check,) = flags.actions(config, _EXAMPLES, {"check": what})
    flags.add_config(check)
    flags.add(check, "config_name TEXT", "name for standard input in messages", default=INPUT_NAME)
    target = "device whose defaults apply (default: the configuration's, or CPU)"
    flags.add(check, f"device_target {'|'.join(TARGETS)}", target)
    flags.add_json(check)


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
