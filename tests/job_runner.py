"""The process that follows an evaluation, say, killed as a power cut kills it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psutil

from tests.freezing import freeze


def kill_runner(folder: Path, pid: int = 0) -> None:
    """It and its guard, which goes first: nothing of it is told. `folder`: the job's.

    `pid`: of the guard on this machine, where the runner is in another namespace.
    """
    guard = psutil.Process(pid or json.loads((folder / "job.json").read_text())["pid"])
    freeze(guard.pid)
    kill_in_turn(guard, *guard.children())


def kill_with_parent(pid: int) -> None:
    """A supervisor: first the process that it was forked from, which would start another one."""
    supervisor = psutil.Process(pid)
    parent = supervisor.parent()
    has_it = parent is not None and parent.cmdline() == supervisor.cmdline()
    kill_in_turn(*([parent] if has_it else []), supervisor)


def kill_in_turn(*processes: psutil.Process) -> None:
    """SIGKILL to one after the other; returns when all are gone. One may have ended by itself."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, left = psutil.wait_procs(processes, timeout=120)
    assert not left
