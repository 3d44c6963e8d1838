"""All that a client may do with runs: list, read, follow, start, stop, resume, evaluate, export.

Reading needs nothing but the files. What changes something is in ``launcher.runs.start`` and is
imported when it is called, so that a client that only watches loads neither processes nor SSH.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from launcher.command_line import command_line
from launcher.core.checks.row import Row, RowState, blocking, expected, refusal
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import Plan, RunContext
from launcher.core.profile import model
from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import CheckpointFacts, ResumeChoice
from launcher.core.run.fold import JobState, RunStatus
from launcher.errors import NodeError
from launcher.reading.checkpoints import checkpoint_directory, checkpoints_in
from launcher.reading.curves import SERIES_FIELDS
from launcher.reading.folders import runs_directory, user_profiles_directory
from launcher.reading.log import LogLine, LogMatches, LogPage, LogReader
from launcher.reading.log_times import LogTimes
from launcher.reading.profiles import ProfileEntry, find_profile, list_profiles
from launcher.reading.run import RunReader
from launcher.reading.runs import RunList, RunSummary, list_runs, open_run
from launcher.reading.snapshot import RankSnapshot, RankStatus, RunSnapshot, Series

__all__ = [
    "SERIES_FIELDS",
    "CheckpointFacts",
    "JobState",
    "LogLine",
    "LogMatches",
    "LogPage",
    "LogReader",
    "LogTimes",
    "Plan",
    "Profile",
    "ProfileEntry",
    "RankSnapshot",
    "RankStatus",
    "ResumeChoice",
    "Row",
    "RowState",
    "RunContext",
    "RunList",
    "RunReader",
    "RunSnapshot",
    "RunStatus",
    "RunSummary",
    "Series",
    "blocking",
    "checkpoints",
    "command_line",
    "connect",
    "doctor",
    "expected",
    "find_profile",
    "list_profiles",
    "list_runs",
    "make_plan",
    "open_run",
    "plan_run",
    "preflight",
    "refusal",
    "resume_choice",
    "resume_run",
    "runs_directory",
    "start_job",
    "start_run",
    "stop_run",
    "user_profiles_directory",
]

Run = RunReader | str | Path
"""A run: its reader, its id or the beginning of it, ``latest``, or its path."""


Settings = Sequence[tuple[str, str]]
"""Keys of the training configuration and their values, as ``--set`` takes them."""


def checkpoints(run: Run) -> tuple[CheckpointFacts, ...]:
    """The checkpoints of a run, newest first, damaged ones among them. Their content is not read.

    Raises RunNotFoundError.
    """
    return checkpoints_in(checkpoint_directory(_reader(run).paths))


def resume_choice(
    run: Run,
    checkpoint: str = "auto",
    *,
    profile: Profile | str | None = None,
    sets: Settings = (),
) -> ResumeChoice:
    """What :func:`resume_run` would take, and why. Reads the file: 0.3 s for 110 MB.

    Raises RunNotFoundError, ProfileError, NodeError.
    """
    from launcher.runs import resume as runs_resume

    edited = None if profile is None else _profile(profile)
    return runs_resume.resume_choice(_root(run), checkpoint, profile=edited, sets=sets)


def plan_run(
    profile: Profile | str, *, name: str = "", sets: Settings = (), data_path: str = ""
) -> Plan:
    """What :func:`start_run` would write and run on this machine now; nothing is touched.

    Raises ProfileError and PlanError.
    """
    from launcher.runs import start

    return start.plan_run(_profile(profile), name=name, sets=sets, data_path=data_path)


def preflight(
    profile: Profile | str,
    *,
    sets: Settings = (),
    data_path: str = "",
    take: Callable[[Row], object] = lambda row: None,
    ask: Callable[[str], bool] | None = None,
    fix: bool = False,
    told: Callable[[str], object] = lambda line: None,
) -> tuple[Row, ...]:
    """Asks all nodes at once whether the profile can be started. -> every row, in reading order.

    ``take`` hears of each row as soon as it is known, from other threads but never twice at a time;
    ``expected(profile)`` names the rows beforehand. With ``fix`` what is safe is mended (``told``
    hears a line for each thing that was done) and the nodes are asked again. Which rows stop a
    start: ``blocking(rows, ignored)``; what to say of them: ``refusal``. Raises ProfileError.

    With a supervisor on the first node, that node is the one that asks.
    """
    from launcher.checks.preflight import Preflight
    from launcher.runs.delegated import preflight as homes_preflight

    profile = _profile(profile)
    if model.is_elsewhere(profile) and not fix:
        with contextlib.suppress(NodeError):  # why, the rows from here say
            rows = homes_preflight(profile, sets, data_path, ask)
            for row in rows:
                take(row)
            return rows
    found = Preflight(profile, data_path=data_path, settings=sets, take=take, confirm_host=ask)
    try:
        rows = found.run()
        if fix and any(row.fix for row in rows):
            for line in found.mend(rows):
                told(line)
            rows = found.run()
        return rows
    finally:
        found.close()


def doctor(
    profile: Profile | str | None = None,
    *,
    target: str = "",
    take: Callable[[Row], object] = lambda row: None,
    ask: Callable[[str], bool] | None = None,
    fix: bool = False,
    told: Callable[[str], object] = lambda line: None,
) -> tuple[Row, ...]:
    """What MindSpore's back end for a device lacks on the profile's nodes, or on this machine.

    ``target`` is ``GPU``, ``Ascend`` or ``CPU``: the profile's, or what this machine has devices
    for, unless given. ``fix`` installs CUDA's libraries into the interpreters' environments.
    Raises ProfileError, UsageError.
    """
    from launcher.checks.doctor import visit

    found = None if profile is None else _profile(profile)
    return visit(found, target, take=take, confirm_host=ask, fix=fix, told=told)


def start_run(
    profile: Profile | str,
    *,
    sets: Settings = (),
    name: str = "",
    data_path: str = "",
    command: Sequence[str] = (),
    ask: Callable[[str], bool] | None = None,
    resume: str = "",
    look: Callable[[], object] = lambda: None,
) -> str:
    """Starts a run and returns its id when its supervisor owns it.

    ``command`` is what a person would type for it; ``ask`` is asked whether an unknown host is the
    right one, and without it such a host is refused; ``resume`` is a checkpoint, of another run
    say, from which this one goes on. ``look`` is called when the plan is made and before any node
    is touched: a preflight, which may raise.

    Raises ProfileError, PlanError, NodeError, LaunchError.
    """
    from launcher.runs import start

    return start.start_run(
        _profile(profile),
        sets=sets,
        name=name,
        data_path=data_path,
        command=command,
        ask=ask,
        resume=resume,
        look=look,
    )


def stop_run(run: Run, *, save: bool = True, by: str = "") -> None:
    """Asks a run to end; its supervisor ends it and verifies. Raises BusyError, LaunchError."""
    from launcher.runs import control

    control.stop_run(_root(run), save=save, by=by)


def resume_run(
    run: Run,
    *,
    checkpoint: str = "auto",
    profile: Profile | str | None = None,
    sets: Settings = (),
    data_path: str = "",
    progress: Callable[[str, int, int], None] | None = None,
    look: Callable[[Profile, Settings, str], object] | None = None,
) -> ResumeChoice:
    """Opens a new attempt: from the newest whole checkpoint, a path, or from ``scratch``.

    ``data_path`` is another data folder than the run had. A checkpoint that lies on another node
    than rank 0 is copied there; ``progress`` is told the file, bytes so far and bytes in all.
    ``look`` is called with profile, settings and data path of the new attempt, once the old one is
    over and before any node is touched: a preflight, which may raise.

    Raises BusyError, CheckpointError, PlanError, NodeError.
    """
    from launcher.runs import resume as runs_resume

    edited = None if profile is None else _profile(profile)
    return runs_resume.resume_run(
        _root(run),
        checkpoint=checkpoint,
        profile=edited,
        sets=sets,
        data_path=data_path,
        progress=progress,
        look=look,
    )


def connect(run: Run) -> None:
    """For a run that lives on its first node: what is here is up to date, and stays so.

    Nothing happens for other runs. Raises LaunchError when the node can't be reached.
    """
    reader = _reader(run)
    if reader.link() is not None:
        from launcher.runs import control

        control.connect_home(reader.paths.root)


def start_job(run: Run, kind: str, **options: Any) -> str:
    """Starts an ``eval``, ``export`` or ``infer`` job; returns its id.

    The options are those of :func:`launcher.jobs.control.start_job`: ``checkpoint``, ``data_path``,
    ``node``, ``file_format``, ``file_name``, ``weights``, ``image_size``, ``model``,
    ``share_device``. Raises UsageError,
    CheckpointError, BusyError, LaunchError.
    """
    from launcher.jobs import control

    return control.start_job(_root(run), kind, **options)


def _reader(run: Run) -> RunReader:
    return run if isinstance(run, RunReader) else open_run(run)


def _root(run: Run) -> Path:
    return _reader(run).paths.root


def _profile(profile: Profile | str) -> Profile:
    return find_profile(profile) if isinstance(profile, str) else profile
