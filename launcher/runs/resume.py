"""A new attempt of a run, from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.fold import RunStatus
from launcher.errors import BusyError, CheckpointError
from launcher.planning import checkpoint_choice, restart, settings
from launcher.planning.attempt import data_path_of
from launcher.planning.checkpoint_choice import AUTO
from launcher.remote.file_copy import Progress
from launcher.runs import delegated
from launcher.runs.control import (
    _wait_for_supervisor_to_leave,
    connect_home,
    spawn_supervisor,
)
from launcher.runs.start import Settings
from launcher.store import run as run_files
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun
from launcher.store.run_lock import is_supervised

Look = Callable[[Profile, Settings, str], object]
"""Told what a new attempt would have: profile, settings, data path; it may raise."""


def resume_choice(
    root: Path,
    checkpoint: str = AUTO,
    *,
    profile: Profile | None = None,
    sets: Settings = (),
) -> ResumeChoice:
    """What `resume_run` would take, and why. Verifies sha256, and copies nothing.

    Raises `SettingsError`, `NodeError`.
    """
    if delegated.home_of(root) is not None:
        return delegated.resume_choice(root, checkpoint, profile, sets)
    stored = run_files.load(root)
    _check_edit(stored, profile, sets)
    run = run_files.edited(stored, profile, tuple(sets))
    wanted = restart.wanted_of(run, read_state(root), checkpoint, before=stored.profile)
    return checkpoint_choice.choose(run, wanted)


def resume_run(
    root: Path,
    *,
    checkpoint: str = AUTO,
    profile: Profile | None = None,
    sets: Settings = (),
    data_path: str = "",
    progress: Progress | None = None,
    look: Look | None = None,
) -> ResumeChoice:
    """A new attempt from a checkpoint, with what is given: edited profile, settings, data folder.

    A checkpoint that lies on another machine than rank 0's is copied there; `progress` is told.
    `look` is called before the first word to a node, with what the new attempt would have.
    Raises `BusyError`, `CheckpointError`, `PlanError`, `SettingsError`, `NodeError`.
    """
    if delegated.home_of(root) is not None:
        # Of one that goes on, its first node says so.
        if look is not None and read_state(root).status.is_over:
            _look(_edited(run_files.load(root), profile, sets, data_path), look)
        choice = delegated.resume(root, checkpoint, profile, sets, data_path, progress)
        connect_home(root, is_new=True)
        return choice
    stored = run_files.load(root)
    _check_edit(stored, profile, sets)
    _wait_for_supervisor_to_leave(root)
    state = read_state(root)
    if is_supervised(root) or not state.status.is_over:
        raise BusyError(
            f"{root.name} is {state.status.value}", f"Stop it first: effnet-launch stop {root.name}"
        )
    if state.status is RunStatus.FINISHED:
        raise BusyError(
            f"{root.name} has finished: nothing is left to train",
            f"For more epochs start anew: effnet-launch start {stored.info.profile}",
        )
    run = _edited(stored, profile, sets, data_path)
    if look is not None:
        _look(run, look)
    if checkpoint == restart.SCRATCH:
        choice = ResumeChoice(None, "from the beginning, as asked")
    else:
        wanted = restart.wanted_of(run, state, checkpoint, before=stored.profile)
        choice = checkpoint_choice.fetch(run, wanted, progress)
        if choice.path is None:
            raise CheckpointError(
                f"{root.name}: {choice.why}", "From the beginning: --checkpoint scratch"
            )
    if profile is not None or sets or data_path:
        run_files.write_edited(run)
    spawn_supervisor(root, resume=choice.path or restart.SCRATCH)
    return choice


def _edited(
    stored: StoredRun, profile: Profile | None, sets: Settings, data_path: str
) -> StoredRun:
    """The run as its next attempt has it; the data folder of an edited profile counts, too."""
    run = run_files.edited(stored, profile, tuple(sets))
    if data_path or run.profile.data_path != stored.profile.data_path:
        data_path = data_path_of(run.profile, data_path)
        run = replace(run, request=replace(run.request, data_path=data_path))
    return run


def _look(run: StoredRun, look: Look) -> None:
    look(run.profile, run.request.settings, run.request.data_path)


def _check_edit(run: StoredRun, profile: Profile | None, sets: Settings) -> None:
    """A run as it was started was checked then. Raises `SettingsError`."""
    if profile is not None or sets:
        edited = run_files.edited(run, profile, tuple(sets))
        settings.check(edited.profile, edited.request.settings)
