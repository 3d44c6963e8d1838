"""Damaged run directories: reading them shows what can be read, and nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from launcher import client
from launcher.cli.output import follow
from launcher.cli.output.console import SafeConsole
from launcher.errors import LaunchError
from launcher.reading.growing import GrowingLines
from launcher.store import run as stored

FUZZ = Path(__file__).parent / "inputs/fuzz"
# Files that were links to themselves.
LOOPS = {"run-12e27f": "events.jsonl", "run-57bf17": "attempts/001/ranks/0001/heartbeat"}


@pytest.mark.parametrize("name", sorted(path.name for path in FUZZ.glob("run-*")))
def test_fuzz_run_directories(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    shutil.copytree(FUZZ / name, root)
    if name in LOOPS:
        link = root / LOOPS[name]
        link.unlink(missing_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(link.name)
    console = SafeConsole(file=io.StringIO(), width=100)
    with contextlib.suppress(LaunchError):
        reader = client.open_run(str(root))
        console.print(follow.picture(reader.poll(), is_live=False))
        for line in GrowingLines(reader.paths.events).poll()[1]:
            follow.print_event(line, console)
        client.checkpoints(str(root))
    with contextlib.suppress(LaunchError):
        stored.load(root)
