"""`python -m effnet`: the trainer's commands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from effnet import __version__, flags
from effnet.contract import exit_codes
from effnet.errors import EffnetError

# Each is imported only when it is called, or when all are listed.
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


def parser(asked: str = "") -> argparse.ArgumentParser:
    """The command line; with the name of a command in `asked`, of that one only."""
    made = flags.Parser(
        prog="python -m effnet",
        description="EfficientNet on MindSpore: train, evaluate, export, infer.",
        epilog="Each command has --help with examples.",
    )
    made.add_argument("--version", action="version", version=f"effnet {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        if asked == name or asked not in COMMANDS:
            importlib.import_module(module).add_arguments(commands)
    return made


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/report-format.md)."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parser(argv[0] if argv else "").parse_args(argv)
        return int(args.run(args))
    except EffnetError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return exit_codes.of(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OF_EXTRA_TRAIN:
            raise
        print(f"error: {error.name} is not installed here", file=sys.stderr)
        print("pip install 'effnet-tui[train]' in the environment of this Python", file=sys.stderr)
        return exit_codes.DEVICE
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OTHER
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
