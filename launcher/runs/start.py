"""A new run: its plan, its directory, its supervisor."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher.core.plan.model import Plan
from launcher.core.profile import home
from launcher.core.profile.model import Profile
from launcher.core.run.info import RunInfo
from launcher.core.run.requests import StartRequest
from launcher.errors import BusyError, LaunchError, UsageError
from launcher.planning import attempt, settings
from launcher.planning.attempt import data_path_of, run_id, settings_of
from launcher.process.uninterrupted import uninterrupted
from launcher.reading.folders import runs_directory
from launcher.remote.node_client import NodePool
from launcher.runs import delegated
from launcher.runs.handle import open_run
from launcher.store import run as run_files
from launcher.supervisor import notice_targets

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def plan_run(profile: Profile, request: StartRequest) -> Plan:
    """What `start_run` would write and run; port 0: chosen at the start.

    One for a login node of Slurm is made there. Raises `PlanError`, `SettingsError`, `NodeError`.
    """
    if home.login_node(profile) is not None:
        with NodePool() as nodes:
            return delegated.plan(profile, request, nodes)
    run = request.name or run_id(profile)
    settings.check(profile, request.settings)
    return attempt.plan_attempt(
        profile,
        run,
        runs_directory() / run,
        1,
        data_path=data_path_of(profile, request.data_path),
        settings=settings_of(profile, request.settings),
    )


def checked(profile: Profile, request: StartRequest) -> StartRequest:
    """The request with the run's id. Raises `UsageError`, `BusyError`, and what `plan_run` does."""
    run = request.name or run_id(profile)
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"{run!r} cannot be a run's id",
            "Use letters, digits, dots, dashes and underscores; at most 100.",
        )
    if (runs_directory() / run).exists():
        raise BusyError(f"there is a run {run} already", "Choose another --name.")
    request = replace(request, name=run)
    if attempt.is_plannable_here(profile) and home.login_node(profile) is None:
        plan_run(profile, request)
    return request


def start_run(
    profile: Profile, request: StartRequest, nodes: NodePool, command: Sequence[str] = ()
) -> str:
    """Makes a run directory and a supervisor for it. -> the run's id, when the supervisor owns it.

    `request` is from `checked`; `command` is what a person would type for it. Raises `NodeError`
    before anything is written, `LaunchError` when it cannot be started.
    """
    run, root = request.name, runs_directory() / request.name
    is_elsewhere = home.is_elsewhere(profile)
    runs_there = delegated.introduce(profile, nodes) if is_elsewhere else ""
    resume = request.resume
    if not is_elsewhere:
        notice_targets.check(profile)
        attempt.introduce(profile, nodes)
        resume = str(Path(resume).absolute()) if resume else ""
    info = RunInfo(
        id=run,
        profile=profile.name,
        created=time.time(),
        world_size=profile.world_size,
        versions=run_files.versions(),
        command=tuple(command),
        start=replace(
            request,
            data_path=data_path_of(profile, request.data_path),
            settings=settings_of(profile, request.settings),
            resume=resume,
        ),
        runs_script=profile.program is not None,
    )
    if is_elsewhere:
        delegated.start(root, runs_there, info, profile, nodes)
        with contextlib.suppress(LaunchError):
            # It runs without a copy, too; `status` shows why there is none.
            open_run(root).spawn()
        return run
    with uninterrupted():
        run_files.create(root, info, profile)
        opened = open_run(root)
        try:
            opened.spawn(resume)
        except LaunchError:
            if opened.state().attempt is None and not opened.state().slurm_job:
                run_files.discard(root)
            raise
    return run
