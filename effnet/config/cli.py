"""`python -m effnet config check`: check a configuration without training.

It loads neither MindSpore nor NumPy, because a launcher runs it before it starts a rank.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from effnet import flags
from effnet.config import toml
from effnet.config.check import rate_remarks
from effnet.config.load import Resolved, resolve
from effnet.config.schema import TARGETS, as_dict
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
    weak = "--config is of a profile that ships: a recipe overrides it"
    flags.add(check, "shipped", weak, action="store_true")
    flags.add(check, "world_size N", "number of ranks, for remarks on the learning rate")
    flags.add_json(check)


def run(args: argparse.Namespace) -> int:
    """Carry out `config check`; raises `ConfigError` unless the answer is JSON."""
    try:
        resolved = _resolve(args)
    except ConfigError as error:
        if not args.json:
            raise
        problems = [{"where": p.where, "what": p.what} for p in error.problems]
        print(json.dumps({"problems": problems, "notes": [], "values": []}))
        return 2
    notes = list(resolved.notes)
    if args.world_size:
        notes += rate_remarks(resolved.config, resolved.sources, args.world_size)
    if args.json:
        print(json.dumps({"problems": [], "notes": notes, "values": _values(resolved)}))
    else:
        for note in notes:
            print(f"note: {note}")
        print("ok")
    return 0


def _resolve(args: argparse.Namespace) -> Resolved:
    given = {"device_target": args.device_target}
    if args.config != STANDARD_INPUT:
        weak, strong = (args.config, None) if args.shipped else (None, args.config)
        return resolve(toml_path=strong, sets=args.set, flags=given, weak_path=weak)
    values, _ = toml.parse(sys.stdin.read(), args.config_name)
    weak_values, base = (values, None) if args.shipped else (None, values)
    return resolve(
        sets=args.set, flags=given, base=base, base_name=args.config_name, weak=weak_values
    )


def _values(resolved: Resolved) -> list[dict[str, Any]]:
    """Each key with its value, where that is from, and whether it is the target's default."""
    plain = as_dict(resolve(resolved.config.device_target).config)
    return [
        {
            "key": name,
            "value": value,
            "source": resolved.sources[name],
            "is_default": value == plain[name],
        }
        for name, value in as_dict(resolved.config).items()
    ]
