"""Flags in the reference's spelling, with underscores, and in the usual one, with dashes."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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
        print(f"error: {message}\n  → {self.prog} --help", file=sys.stderr)
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
    commands: Any, name: str, about: str, examples: str, run: Callable[[Any], int] | None = None
) -> argparse.ArgumentParser:
    """Add a command whose `--help` ends with `examples`, printed as they are.

    `effnet.__main__` calls `run` with the parsed arguments; `--json`'s answer is for `args.give`.
    """
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        made.set_defaults(run=run)
    return made


def actions(
    parent: argparse.ArgumentParser, examples: str, about: Mapping[str, str]
) -> list[argparse.ArgumentParser]:
    """Add one command below `parent` for each name; the chosen name is stored under `action`."""
    metavar = f"{{{','.join(about)}}}"
    commands = parent.add_subparsers(dest="action", required=True, metavar=metavar)
    return [command(commands, name, text, examples) for name, text in about.items()]


def add(parser: argparse._ActionsContainer, spec: str, help: str, **known: Any) -> None:
    """Add `--some_flag`, also spelt `--some-flag`; the value is stored under `some_flag`.

    `spec` is the name and, after a space, the metavar; the values of N and PX are whole numbers.
    `help` ends with the default, if there is one.
    """
    name, _, metavar = spec.partition(" ")
    if metavar:
        known = {"metavar": metavar, "type": int if metavar in ("N", "PX") else None, **known}
    if known.get("default") not in (None, "", []):
        help += f" (default: {known['default']})"
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    parser.add_argument(*spellings, dest=name, help=help, **known)


def add_truth(parser: argparse._ActionsContainer, name: str, help: str) -> None:
    """Add a flag that is off by default: `--flag`, `--flag True`, `--flag=False`."""
    add(parser, f"{name} True|False", help, nargs="?", const=True, default=False, type=truth)


def add_run_distribute(parser: argparse._ActionsContainer, what: str) -> None:
    """Add `--run_distribute`; its default, `None`, is for `effnet.distributed.slurm.step`."""
    help = f"{what} (default: True for several tasks of srun, else False)"
    spec = "run_distribute True|False"
    add(parser, spec, help, nargs="?", const=True, default=None, type=truth)


def add_config(parser: argparse._ActionsContainer) -> None:
    """Add `--config` and `--set`."""
    add(parser, "config FILE", "TOML file of configuration keys")
    once = "set one configuration key; can be repeated"
    add(parser, "set KEY=VALUE", once, action="append", default=[])


def add_device_id(parser: argparse._ActionsContainer) -> None:
    """Add `--device_id`."""
    add(parser, "device_id N", "device number (default: the environment variable DEVICE_ID, or 0)")


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add `--weights model|ema`."""
    help = "which weights to use (default: the moving average, ema, if the checkpoint has one)"
    add(parser, "weights", help, choices=("model", "ema"))


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    add(parser, "json", "print one JSON object instead of text", action="store_true")


TRUTHS = {"true": True, "1": True, "yes": True, "on": True}
TRUTHS |= {"false": False, "0": False, "no": False, "off": False}


def truth(text: str) -> bool:
    """`True`, `false`, `1`, `no`…: the reference writes `--run_distribute=True`."""
    try:
        return TRUTHS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected True or False, not {text!r}") from None
