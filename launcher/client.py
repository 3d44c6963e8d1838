"""Everything that a program can do with runs. `effnet-launch`, the dashboard and the scripts of
`launcher.reference` use this module and nothing below it.

An action is one record of `launcher.core.run.requests`, and a call with it:

    start(profile, StartRequest(settings=(("epoch_size", "5"),)))    -> the run's id
    resume(run, ResumeRequest(checkpoint="scratch"))                 -> ResumeChoice
    stop(run, StopRequest(save=False)), stop_job(run, job)
    start_job(run, JobRequest("export", file_format="ONNX"))         -> the job's id

`request.command(target)` is the `effnet-launch` argument list that does the same. A run is its
reader, its id or the start of it, ``latest``, or its path. `start` and `resume` run the preflight
unless the request says not to: PreflightError when a check failed that the request does not ignore.
Calls on a run raise what the methods of `launcher.runs.base.Run` raise, and RunNotFoundError.

Reading needs only files. What changes something is imported when it is called: no SSH to watch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.core.checks.expected import expected as expected
from launcher.core.checks.row import Action, checked_names, refusal
from launcher.core.checks.row import Row as Row
from launcher.core.checks.row import RowState as RowState
from launcher.core.checks.row import blocking as blocking
from launcher.core.diagnosis.stacks import StackDump as StackDump
from launcher.core.history.compare import Comparison as Comparison
from launcher.core.history.summary import RunSummary as RunSummary
from launcher.core.plan import program
from launcher.core.plan.model import Plan as Plan
from launcher.core.profile.model import Profile as Profile
from launcher.core.run.checkpoints import CheckpointFacts as CheckpointFacts
from launcher.core.run.checkpoints import ResumeChoice as ResumeChoice
from launcher.core.run.requests import JobRequest as JobRequest
from launcher.core.run.requests import ResumeRequest as ResumeRequest
from launcher.core.run.requests import Settings as Settings
from launcher.core.run.requests import StartRequest as StartRequest
from launcher.core.run.requests import StopJobRequest as StopJobRequest
from launcher.core.run.requests import StopRequest as StopRequest
from launcher.core.run.state import JobState as JobState
from launcher.core.run.state import RunStatus as RunStatus
from launcher.process.uninterrupted import interrupt as interrupt
from launcher.reading import checkpoints as checkpoint_files
from launcher.reading.curves import SERIES_FIELDS as SERIES_FIELDS
from launcher.reading.folders import user_cache as user_cache
from launcher.reading.folders import user_notify_file as user_notify_file
from launcher.reading.folders import user_profiles_directory as user_profiles_directory
from launcher.reading.growing import GrowingLines as GrowingLines
from launcher.reading.history.lateness import late_ranks_of as late_ranks_of
from launcher.reading.log import LogLine as LogLine
from launcher.reading.log import LogReader as LogReader
from launcher.reading.log_times import LogTimes as LogTimes
from launcher.reading.profiles import ProfileEntry as ProfileEntry
from launcher.reading.profiles import checkpoint_folder
from launcher.reading.profiles import find_profile as find_profile
from launcher.reading.profiles import list_profiles as list_profiles
from launcher.reading.profiles import read_profile as read_profile
from launcher.reading.run import RunReader as RunReader
from launcher.reading.runs import RunList as RunList
from launcher.reading.runs import compare as compare
from launcher.reading.runs import is_run as is_run
from launcher.reading.runs import kept_by_runs as kept_by_runs
from launcher.reading.runs import list_runs as list_runs
from launcher.reading.runs import open_run as open_run
from launcher.reading.snapshot import RankSnapshot as RankSnapshot
from launcher.reading.snapshot import RankStatus as RankStatus
from launcher.reading.snapshot import RunSnapshot as RunSnapshot
from launcher.reading.snapshot import Series as Series
from launcher.watching.watch import watch as watch

if TYPE_CHECKING:
    from launcher.ipc.operations import Leftovers as Leftovers
    from launcher.planning.settings import Configuration as Configuration
    from launcher.remote.node_client import NodePool
    from launcher.report.openmetrics import RunMetrics
    from launcher.runs.base import Run as Handle

Run = RunReader | str | Path
"""A run: its reader, its id or the start of it, ``latest``, or its path."""

Confirm = Callable[[str], bool]
"""Gets a question about an unknown host; without it such a host is refused."""

OnRows = Callable[[Sequence[Row]], object]
"""Gets all rows of the preflight before it is decided whether they stop the action."""

OnText = Callable[[str], object]
OnProgress = Callable[[str, int, int], None]
"""Gets a file's name, the bytes copied so far and all of its bytes."""


def checkpoints(run: Run) -> tuple[CheckpointFacts, ...]:
    """The checkpoints of a run, newest first, with damaged ones. Their content is not read."""
    return checkpoint_files.find(checkpoint_folder(_reader(run).paths))


def profile_of(run: Run) -> Profile:
    """The profile that the run's next attempt has. Raises LaunchError."""
    from launcher.store import run as run_files

    return run_files.load(_reader(run).paths.root).profile


def check_settings(profile: Profile, name: str = "") -> tuple[str, ...]:
    """What the trainer would refuse, one line each. Messages call the profile `name`."""
    from launcher.planning import settings as planning_settings

    return planning_settings.problems_of(profile, (), name)


def configuration(profile: Profile | str, request: StartRequest = StartRequest()) -> Configuration:
    """The values of a start with their sources, remarks, and the duration. Raises ProfileError."""
    from launcher.planning import calibration

    return calibration.configuration(_profile(profile, request), request)


def plan(profile: Profile | str, request: StartRequest = StartRequest()) -> Plan:
    """What :func:`start` would write and run now. Raises ProfileError, PlanError, NodeError."""
    from launcher.runs.start import plan_run

    return plan_run(_profile(profile, request), request)


def keep_calibration(run: Run, profile: Profile, request: StartRequest) -> Path:
    """Keeps what a run with ``calibrate_steps`` measured. -> the file. Raises LaunchError."""
    from launcher.planning import calibration

    return calibration.keep(_reader(run), profile, request)


def preflight(
    profile: Profile | str,
    *,
    settings: Settings = (),
    data_path: str = "",
    on_row: Callable[[Row], object] = lambda row: None,
    confirm_host: Confirm | None = None,
    fix: bool = False,
    on_fix: OnText = lambda line: None,
    nodes: NodePool | None = None,
) -> tuple[Row, ...]:
    """Checks all nodes at once: can the profile be started? -> every row, in reading order.

    ``on_row`` gets each row as soon as it is known, from other threads but never two at a time;
    ``expected(profile)`` names them beforehand. With ``fix`` what is safe is fixed (``on_fix`` gets
    a line for each) and the nodes are checked again. Which rows stop a start: ``blocking(rows,
    ignored)``. A node that the run is delegated to does the checks. Raises ProfileError.
    """
    from launcher.runs import checking

    found, fixing = _profile(profile), on_fix if fix else None
    with connections(confirm_host) if nodes is None else contextlib.nullcontext(nodes) as pool:
        return checking.preflight(found, settings, data_path, pool, on_row, fixing)


def doctor(
    profile: Profile | str | None = None,
    *,
    target: str = "",
    on_row: Callable[[Row], object] = lambda row: None,
    confirm_host: Confirm | None = None,
    fix: bool = False,
    on_fix: OnText = lambda line: None,
) -> tuple[Row, ...]:
    """What MindSpore's back end for a device lacks on the profile's nodes, or on this machine.

    ``target`` is ``GPU``, ``Ascend`` or ``CPU``; default: the profile's, or what this machine has
    devices for. ``fix`` installs CUDA's libraries there. Raises ProfileError, UsageError.
    """
    from launcher.runs import checking

    found = None if profile is None else _profile(profile)
    return checking.examine(found, target, on_row, confirm_host, on_fix, fix=fix)


def start(
    profile: Profile | str,
    request: StartRequest = StartRequest(),
    *,
    command: Sequence[str] = (),
    confirm_host: Confirm | None = None,
    on_rows: OnRows = lambda rows: None,
) -> str:
    """Starts a run and returns its id when its supervisor owns it.

    ``command`` is what a person typed for it, unless that is the request's own command.
    Raises ProfileError, PlanError, PreflightError, NodeError, LaunchError.
    """
    from launcher.runs.start import checked, start_run

    command = command or request.command(profile if isinstance(profile, str) else profile.name)
    profile = _profile(profile, request)
    request = checked(profile, request)
    with connections(confirm_host) as nodes:
        if request.preflight:
            _check_nodes(profile, request, "start", request.ignore, nodes, on_rows)
        return start_run(profile, request, nodes, command)


def stop(run: Run, request: StopRequest = StopRequest(), *, by: str = "") -> int:
    """Asks the run's supervisor to end it; one that does not answer is ended and replaced.
    -> pid of one that did not answer, or 0. Raises BusyError when the run is over.
    """
    return _handle(run).stop(request, by)


def take_stacks(run: Run) -> StackDump | None:
    """What every rank does now, by the stacks of its threads; no rank loses a step.

    Raises BusyError when the run is over, NoAnswerError when nothing comes back.
    """
    _handle(reader := _reader(run)).take_stacks()
    reader.poll_state()
    return reader.stacks()


def resume_choice(run: Run, request: ResumeRequest = ResumeRequest()) -> ResumeChoice:
    """The checkpoint that :func:`resume` would use, and why. Reads the file: 0.3 s for 110 MB."""
    handle, edited = _handle(run), _edited(request, None)
    return handle.resume_choice(handle.next_attempt(request, edited))


def resume(
    run: Run,
    request: ResumeRequest = ResumeRequest(),
    *,
    profile: Profile | None = None,
    confirm_host: Confirm | None = None,
    on_rows: OnRows = lambda rows: None,
    on_progress: OnProgress | None = None,
) -> ResumeChoice:
    """Starts a new attempt. ``profile``: an edited one, instead of the one that the request names.
    Raises BusyError, CheckpointError, PlanError, PreflightError, NodeError.
    """
    handle = _handle(run)
    attempt = handle.next_attempt(request, _edited(request, profile))
    handle.check_may_resume()
    start = attempt.run.request
    with connections(confirm_host) as nodes:
        if request.preflight:
            _check_nodes(attempt.run.profile, start, "resume", request.ignore, nodes, on_rows)
        return handle.resume(attempt, nodes, on_progress)


def connect(run: Run) -> bool:
    """Replaces a supervisor that died before its run was over. -> whether it did.

    A copy of a run that is on its first node is brought up to date, and kept so.
    """
    return _handle(run).ensure_supervised()


def follow_jobs(run: Run) -> tuple[str, ...]:
    """Jobs whose runner died get another one, or their end is recorded. -> their ids."""
    return _handle(run).follow_jobs()


def send_test_notice(profile: Profile | str) -> list[tuple[str, str]]:
    """A test to all that the profile's ``[notify]`` names. -> (target, problem; empty: sent)."""
    from launcher.supervisor import notice_targets

    return notice_targets.send_test(_profile(profile))


def adopt(run: Run) -> None:
    """Makes a copied or moved run directory one of this user's, so that it can be acted on."""
    from launcher.store import owner

    owner.adopt(_reader(run).paths.root)


def start_job(run: Run, request: JobRequest, *, on_progress: OnProgress | None = None) -> str:
    """Starts an ``eval``, ``export`` or ``infer`` job; returns its id."""
    return _handle(run).start_job(request, on_progress)


def stop_job(run: Run, job: str) -> None:
    """Ends all processes of a job."""
    _handle(run).stop_job(job)


def wait_for_job(run: Run, job: str, on_queue: OnText = lambda words: None) -> JobState:
    """Returns when the job is over. `on_queue` gets why it waits in Slurm's queue."""
    return _handle(run).wait_for_job(job, on_queue)


def set_note(run: Run, note: str) -> None:
    """Changes why the run was made (``snapshot.note``)."""
    _handle(run).set_note(note)


def find_leftovers(
    nodes: NodePool, only: Sequence[str] = (), *, here_only: bool = False
) -> dict[str, Leftovers]:
    """Leftovers of runs on each machine, by node; this machine's name is empty."""
    from launcher.cleanup import nodes as cleanup

    return cleanup.find(nodes, only, here_only=here_only)


def clean(nodes: NodePool, found: Mapping[str, Leftovers]) -> dict[str, Leftovers]:
    """Ends and removes these leftovers. -> what is still there."""
    from launcher.cleanup import nodes as cleanup

    return cleanup.end(nodes, found)


def prune(runs: Sequence[Run], *, here_only: bool = False) -> tuple[list[str], list[str]]:
    """-> (ids of removed runs, why others stay). Raises BusyError while a process is there."""
    from launcher.runs import handle

    with connections() as nodes:
        return handle.delete_all(map(_handle, runs), nodes, here_only=here_only)


def write_report(run: Run, path: Path, *, is_anonymous: bool = False) -> None:
    """Writes the run as one HTML file. Raises UsageError where another file is, LaunchError."""
    from launcher.report import files

    files.write_report(_reader(run), path, is_anonymous)


def write_bundle(run: Run, path: Path, *, is_anonymous: bool = False) -> None:
    """Packs the run's directory without weights. Raises as ``write_report``."""
    from launcher.report import files

    files.write_bundle(_reader(run), path, is_anonymous)


def write_event_files(run: Run, folder: Path, every: int, on_progress: OnProgress) -> int:
    """Adds what is new to TensorBoard's files of a run. -> bytes of records that were new."""
    from launcher.report import files

    return files.write_event_files(_reader(run), folder, every, on_progress)


def metrics(run: Run) -> RunMetrics:
    """The run's figures for Prometheus: a text, a file, or a port. Raises LaunchError."""
    from launcher.report import files

    return files.metrics_of(_reader(run))


def connections(confirm_host: Confirm | None = None) -> NodePool:
    """A context manager: each node is connected once for the calls that get it."""
    from launcher.remote.node_client import NodePool

    return NodePool(confirm_host)


def _check_nodes(
    profile: Profile,
    request: StartRequest,
    action: Action,
    ignore: Sequence[str],
    nodes: NodePool,
    on_rows: OnRows,
) -> None:
    """Raises PreflightError, and UsageError for an ignored check that does not exist."""
    ignored = checked_names(ignore)
    settings, data_path = request.settings, request.data_path
    rows = preflight(profile, settings=settings, data_path=data_path, nodes=nodes)
    on_rows(rows)
    if (refused := refusal(rows, profile.name, ignored, action)) is not None:
        raise refused


def _reader(run: Run) -> RunReader:
    return run if isinstance(run, RunReader) else open_run(run)


def _handle(run: Run) -> Handle:
    from launcher.runs import handle

    return handle.open_run(_reader(run).paths.root)


def _profile(profile: Profile | str, request: StartRequest = StartRequest()) -> Profile:
    found = find_profile(profile) if isinstance(profile, str) else profile
    return program.placed(program.with_command(found, request.program), str(Path.cwd()))


def _edited(request: ResumeRequest, profile: Profile | None) -> Profile | None:
    return find_profile(request.profile) if profile is None and request.profile else profile
