"""The demo: what `scripts/demo` does once its environment is there."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launcher.client import RankStatus, StartRequest, list_runs, open_run, start
from launcher.core.text.figures import size_bytes
from launcher.errors import LaunchError

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data" / "digits"
BIN = Path(sys.executable).parent
GOAL_TOP_1 = 0.90

console = Console(highlight=False)


class DemoFailed(Exception):
    """A command of the demo failed; its own output says why."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Train EfficientNet-B2 on 2 ranks of this machine's CPU and watch it.",
        epilog="examples:\n  scripts/demo\n  scripts/demo --headless\n"
        "  scripts/demo --headless --set epoch_size=2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--headless", action="store_true", help="no dashboard; run to the end")
    parser.add_argument("--profile", default="local-cpu", help="default: local-cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    try:
        show([sys.executable, "-m", "effnet", "data", "digits", str(DATA)])
        return headless(args) if args.headless else dashboard(args)
    except (DemoFailed, LaunchError) as error:
        console.print(f"[bold red]demo failed:[/] {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nThe run continues. Watch it with: scripts/demo")
        return 130


def dashboard(args: argparse.Namespace) -> int:
    """Opens the living demo run, or starts one; the run continues when the dashboard is closed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise DemoFailed("the dashboard needs a terminal; scripts/demo --headless needs none")
    os.execv(BIN / "effnet-tui", ["effnet-tui", living_or_new(args)])


def headless(args: argparse.Namespace) -> int:
    """Train, evaluate, export, infer; 0 when the results are good and nothing is left running."""
    run = living_or_new(args)
    show([BIN / "effnet-launch", "attach", run])
    best = answer(["eval", run])["result"]
    exported = answer(["export", run, "--format", "ONNX"])["result"]
    inferred = answer(["infer", run])["result"]
    return summary(run, best, exported, inferred)


def living_or_new(args: argparse.Namespace) -> str:
    """The demo's run, when one lives, so that a second call joins it; else a new one."""
    for run in list_runs():
        if run.is_living and run.profile == args.profile:
            return run.run
    request = StartRequest(settings=tuple(pairs(args.set)), data_path=str(DATA), preflight=False)
    return start(args.profile, request, command=("scripts/demo",))


def summary(
    run: str, evaluated: dict[str, Any], exported: dict[str, Any], inferred: dict[str, Any]
) -> int:
    """Prints what came out; 0 when it is what a demo should show."""
    snapshot = open_run(run).poll()
    here = (RankStatus.RUNNING, RankStatus.SILENT)
    left = [rank.rank for rank in snapshot.ranks if rank.status in here]
    same = all(evaluated[name] == inferred[name] for name in ("top_1_acc", "top_5_acc"))
    verdict = "the same" if same else "DIFFERS"
    table = Table(title=f"{run}: {snapshot.status.value}", show_header=False, title_justify="left")
    table.add_row("images evaluated", f"{evaluated['images']}")
    table.add_row("top-1, MindSpore", f"{evaluated['top_1_acc']:.4f}")
    table.add_row("top-1, ONNX", f"{inferred['top_1_acc']:.4f} ({verdict})")
    table.add_row("loss", f"{evaluated['loss']:.4f}")
    table.add_row("size of the ONNX file", size_bytes(exported["bytes"]))
    table.add_row("largest difference", f"{exported['max_abs_difference']:.2e}")
    table.add_row("ranks still there", f"{left or 'none'}")
    console.print(table)
    # In one piece, however narrow the terminal is, so that it can be copied.
    console.print(f"ONNX file: {exported['file']}", soft_wrap=True)
    good = evaluated["top_1_acc"] >= GOAL_TOP_1 and same and not left
    if evaluated["top_1_acc"] < GOAL_TOP_1:
        console.print(f"top-1 is below {GOAL_TOP_1}: this is not what the demo should show")
    console.print(f"Watch it again: .venv/bin/effnet-tui {run}")
    return 0 if good else 1


def pairs(sets: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (text.partition("=") for text in sets)]


def show(command: list[Any]) -> None:
    """Print a command, then run it in this terminal."""
    print_command(command)
    if subprocess.run(command, check=False).returncode:
        raise DemoFailed(shlex.join(map(str, command)))


def answer(arguments: list[str]) -> dict[str, Any]:
    """What an `effnet-launch` command answers in JSON."""
    command = [str(BIN / "effnet-launch"), *arguments, "--json"]
    print_command(command)
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise DemoFailed(f"{shlex.join(command)}\n{done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def print_command(command: list[Any]) -> None:
    words = [Path(str(command[0])).name, *map(str, command[1:])]
    console.print(f"[dim]$ {shlex.join(words)}[/]", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
