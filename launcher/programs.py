"""Our modules that are started as programs, and the command that starts one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

SUPERVISOR: Final = "launcher.supervisor"
BATCH: Final = "launcher.supervisor.batch"
AGENT: Final = "launcher.agent"
NODE: Final = "launcher.node"
FOLLOWER: Final = "launcher.runs.follower"
JOB: Final = "launcher.jobs.runner"
JOB_BATCH: Final = "launcher.jobs.batch"
RANK: Final = "launcher.rank"
FORK: Final = "launcher.fork"
MPIRUN_CHILD: Final = "launcher.agent.mpirun_child"
MPIRUN_DAEMON: Final = "launcher.agent.mpirun_daemon"
TRAINER: Final = "effnet"
SCHEDULER: Final = "effnet.scheduler"

ALL: Final = (
    SUPERVISOR,
    BATCH,
    AGENT,
    NODE,
    FOLLOWER,
    JOB,
    JOB_BATCH,
    RANK,
    FORK,
    MPIRUN_CHILD,
    MPIRUN_DAEMON,
    TRAINER,
    SCHEDULER,
)
"""A test checks that this table is whole."""


def command(program: str, python: str = sys.executable) -> list[str]:
    """Starts a program as `python -m` does, but imports nothing from the working directory.

    With `-m` a runpy.py or importlib.py there is imported before any code of ours can prevent it.
    `-P` prevents it too, but Python 3.10 does not know it.
    """
    run = (
        "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; import runpy;"
        " runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    return [python, "-c", run, program]


def reporter_file() -> Path | None:
    """The trainer's file for other scripts, found without an import; None without the trainer."""
    spec = importlib.util.find_spec(TRAINER)
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    found = (Path(folder, "contract", "reporter.py") for folder in folders)
    return next((path for path in found if path.is_file()), None)
