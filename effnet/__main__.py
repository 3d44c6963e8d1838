"""`python -m effnet`: the trainer's commands."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

from effnet import __version__, flags
from effnet.contract import exit_codes, reporter
from effnet.errors import INSTALL, EffnetError, with_hint

# A module is imported only when its command runs, or for the list of all commands.
COMMANDS = {
    "train": "effnet.train.cli",
    "eval": "effnet.evaluate.cli",
    "export": "effnet.export.cli",
    "infer": "effnet.infer.cli",
    "data": "effnet.data.cli",
    "config": "effnet.config.cli",
    "weights": "effnet.weights.cli",
}

OF_EXTRA_TRAIN = ("mindspore", "numpy", "PIL", "safetensors", "sklearn", "onnxruntime")


def parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of all commands, or of `command` alone.

    A list of all commands also has those whose packages are not installed.
    """
    made = flags.Parser(
        prog="python -m effnet",
        description="EfficientNet on MindSpore: train, evaluate, export, infer.",
        epilog="Each command has --help with examples.",
    )
    made.add_argument("--version", action="version", version=f"effnet {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        if command == name:
            importlib.import_module(module).add_arguments(commands)
        elif command not in COMMANDS:
            try:
                importlib.import_module(module).add_arguments(commands)
            except ModuleNotFoundError as error:
                commands.add_parser(name, help=_not_installed(error))
    return made


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/report-format.md)."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        # A file name need not be UTF-8, and a terminal need not know every character.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = parser(argv[0] if argv else "").parse_args(argv)
        return int(args.run(args))
    except EffnetError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return exit_codes.of(error)
    except ModuleNotFoundError as error:
        text = with_hint(f"this command {_not_installed(error)}", INSTALL)
        print(f"error: {text}", file=sys.stderr)
        return exit_codes.KINDS["device"]
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.KINDS["other"]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _not_installed(error: ModuleNotFoundError) -> str:
    """Raises `error` if its module is not one of the extra `train`."""
    if error.name is None or error.name.partition(".")[0] not in OF_EXTRA_TRAIN:
        raise error
    return f"needs {error.name}, which is not installed (extra `train`)"


if __name__ == "__main__":
    reporter.write_stacks_on_signal()
    sys.exit(main())
