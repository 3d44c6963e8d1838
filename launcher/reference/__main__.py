"""`python -m launcher.reference SCRIPT ARGUMENTS`: what `scripts/SCRIPT.sh` calls."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from launcher.cli.app import report
from launcher.cli.options import pairs
from launcher.core.checks.row import checked_names
from launcher.errors import INTERRUPTED, LaunchError, UsageError
from launcher.reference import evaluating, training
from launcher.reference.arguments import SCRIPTS, Script, parse
from launcher.reference.training import Options, show


class Parser(argparse.ArgumentParser):
    """An error is a `UsageError`, like any other wrong argument."""

    def __init__(self, script: Script) -> None:
        super().__init__(
            prog=f"scripts/{script.name}.sh",
            usage=script.usage.removeprefix("usage: ") + " [options]",
            description=script.text,
            epilog=f"example:\n  bash scripts/{script.name}.sh {script.example}\n\n"
            "Put DEVICE_TARGET=CPU before it to use this machine's CPU.\n"
            "More: docs/how-to/from-the-reference.md",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._hint = script.hint

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self._hint)


def main(argv: list[str] | None = None) -> int:
    """-> the job's exit code; 2 for wrong arguments, with usage and an example."""
    name, *words = sys.argv[1:] if argv is None else argv
    try:
        script = SCRIPTS[name]
        return _run(script, words)
    except LaunchError as error:
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(script: Script, words: list[str]) -> int:
    parser = Parser(script)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--detach", action="store_true", help="return when it runs, do not wait for the end"
    )
    if script.name != "run_infer_onnx":
        text = "a key of the configuration; may be repeated"
        parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=text
        )
    if script.trains:
        parser.add_argument("--config", default="", metavar="FILE", help="TOML file of such keys")
        parser.add_argument(
            "--recipe", default="", help="reference, tf or ra (docs/reference/recipes.md)"
        )
        text = "start although this check of the preflight failed; may be repeated"
        parser.add_argument("--ignore", action="append", default=[], metavar="CHECK", help=text)
        parser.add_argument("--no-preflight", action="store_true", help="do not check first")
        parser.add_argument("--name", default="", help="id of the run, instead of a generated one")
    given = vars(parser.parse_intermixed_args(words))
    arguments = parse(script, given.pop("words"), os.environ)
    if arguments.note:
        show(f"note: {arguments.note}")
    given["settings"] = pairs(given.get("settings", ()))
    given["ignore"] = checked_names(given.get("ignore", ()))
    options = Options(command=(f"scripts/{script.name}.sh", *words), **given)
    if not script.trains:
        return evaluating.run(arguments, options)
    begin = training.resume if script.name == "run_distribute_resume" else training.start
    return begin(arguments, options)


if __name__ == "__main__":
    sys.exit(main())
