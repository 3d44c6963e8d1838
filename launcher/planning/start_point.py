"""Where a supervisor's first attempt starts, from what `--resume` says."""

from __future__ import annotations

import json

from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.state import RunState
from launcher.core.text.codec import from_plain
from launcher.planning import restart
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun


def start_point(run: StoredRun, state: RunState, resume: str) -> StartCheckpoint | None:
    """None for the beginning, and where nothing was asked for.

    A client has chosen and verified the checkpoint, and passes it whole: it is not read again. A
    batch script passes a word, a name or a path. Raises `CheckpointError`.
    """
    if resume in ("", restart.SCRATCH):
        return None
    if resume.startswith("{"):
        return from_plain(StartCheckpoint, json.loads(resume))
    with NodePool() as nodes:
        return restart.resume_point(run, state, resume, nodes)
