"""What changes a run: start, stop, resume, and finding out whether somebody owns it."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.core.plan.model import Plan
from launcher.core.profile import model
from launcher.core.profile.model import Profile
from launcher.core.run.info import RunInfo
from launcher.errors import BusyError, LaunchError, UsageError
from launcher.planning import attempt, settings
from launcher.planning.attempt import data_path_of, run_id
from launcher.reading.folders import runs_directory
from launcher.remote.host_keys import ConfirmHost
from launcher.runs import delegated
from launcher.runs.control import (
    spawn_supervisor,
)
from launcher.store import run as run_files
from launcher.store.event_log import read_state
from launcher.store.run import StartRequest

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Settings = Sequence[tuple[str, str]]


def plan_run(profile: Profile, *, name: str = "", sets: Settings = (), data_path: str = "") -> Plan:
    """What `start_run` would write and run; port 0 is chosen at the start.

    Raises `PlanError` and `SettingsError`.
    """
    run = name or run_id(profile.name, time.time())
    settings.check(profile, tuple(sets))
    return attempt.plan_attempt(
        profile,
        run,
        runs_directory() / run,
        1,
        data_path=data_path_of(profile, data_path),
        settings=tuple(sets),
    )


def start_run(
    profile: Profile,
    *,
    sets: Settings = (),
    name: str = "",
    data_path: str = "",
    command: Sequence[str] = (),
    ask: ConfirmHost | None = None,
    resume: str = "",
    look: Callable[[], object] = lambda: None,
) -> str:
    """Makes a run directory and a supervisor for it. -> the run's id, when the supervisor owns it.

    `ask` answers questions about unknown hosts; without it they are refused. `resume` is a
    checkpoint, of another run say, from which this one goes on. `look` is called between the plan
    and the first word to a node. Raises `PlanError`,
    `SettingsError` and `NodeError` before anything is written, `LaunchError` when it cannot be
    started.
    """
    run = name or run_id(profile.name, time.time())
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"{run!r} cannot be a run's id",
            "Letters, digits, dots, dashes, underscores; up to 100.",
        )
    root = runs_directory() / run
    if root.exists():
        raise BusyError(f"there is a run {run} already", "Choose another --name.")
    if attempt.is_plannable_here(profile):
        plan_run(profile, name=run, sets=sets, data_path=data_path)
    look()
    runs_there = ""
    if model.is_elsewhere(profile):
        runs_there = delegated.introduce(profile, ask)
    else:
        attempt.introduce(profile, ask)
    info = RunInfo(
        id=run,
        profile=profile.name,
        created=time.time(),
        world_size=profile.world_size,
        versions=run_files.versions(),
        command=tuple(command),
    )
    request = StartRequest(data_path_of(profile, data_path), tuple(sets))
    if runs_there:
        delegated.start(root, runs_there, info, profile, request, resume)
        with contextlib.suppress(LaunchError):
            # It runs there, whatever happens to the copy: the next look at it says why.
            spawn_supervisor(root)
        return run
    run_files.create(root, info, profile, request)
    try:
        spawn_supervisor(root, resume=str(Path(resume).absolute()) if resume else "")
    except LaunchError:
        if read_state(root).attempt is None:
            shutil.rmtree(root, ignore_errors=True)  # it never began
        raise
    return run
