"""When the parent of a supervisor that died starts another one."""

from __future__ import annotations

import time
from pathlib import Path

from launcher.errors import LaunchError
from launcher.process.log import log_line
from launcher.store import run as run_files
from launcher.store.run_lock import is_supervised

LOOK_S = 0.5
"""How often it looks whether a client started another."""


def is_left_alone(root: Path) -> bool:
    """Waits `supervisor_restart_s`. -> whether no other supervisor has been here by then.

    Only supervisors write to the event log: one that has come and gone between two looks shows.
    """
    try:
        run = run_files.load(root)
        wait_s, size = run.profile.limits.supervisor_restart_s, run.paths.events.stat().st_size
        log_line(f"another supervisor starts in {wait_s:g} s")
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            if is_supervised(root) or run.paths.events.stat().st_size != size:
                return False
            time.sleep(min(wait_s, LOOK_S))
    except (LaunchError, OSError) as error:
        log_line(f"no other supervisor starts: {error}")
        return False
    return True
