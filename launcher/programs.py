"""Every module of ours that is started with `python -m`. A test checks that this table is whole."""

from __future__ import annotations

from typing import Final

SUPERVISOR: Final = "launcher.supervisor"
AGENT: Final = "launcher.agent"
NODE: Final = "launcher.node"
FOLLOWER: Final = "launcher.runs.follower"
JOB: Final = "launcher.jobs.runner"
RANK: Final = "launcher.rank"
MPIRUN_CHILD: Final = "launcher.agent.mpirun_child"
MPIRUN_DAEMON: Final = "launcher.agent.mpirun_daemon"
TRAINER: Final = "effnet"
SCHEDULER: Final = "effnet.scheduler"

ALL: Final = (
    SUPERVISOR,
    AGENT,
    NODE,
    FOLLOWER,
    JOB,
    RANK,
    MPIRUN_CHILD,
    MPIRUN_DAEMON,
    TRAINER,
    SCHEDULER,
)
