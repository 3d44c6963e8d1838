"""Jobs on what a run has trained: eval, export and infer, each in its own folder of the run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.core.codec import Mismatch, from_plain, to_plain
from launcher.core.cpu_tuning import rank_environment
from launcher.core.paths import RunPaths, job_id
from launcher.core.profile import DeviceTarget, Node
from launcher.core.state import JobState
from launcher.errors import BusyError, CheckpointError, LaunchError, RunNotFoundError, UsageError
from launcher.shell import ownership, processes, retrying, run_files
from launcher.shell.event_log import read_state
from launcher.shell.run_files import StoredRun
from launcher.shell.tail import last_lines

KINDS = ("eval", "export", "infer")
FORMATS = ("ONNX", "MINDIR", "AIR")
WEIGHTS = ("model", "ema")
START_LIMIT_S = 10.0


@dataclass(frozen=True)
class Job:
    """job.json. `pid` and `start_ticks` are those of the process that runs the job."""

    id: str
    type: str
    node: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    token: str
    created: float
    checkpoint: str = ""
    pid: int = 0
    start_ticks: int = 0


def start_job(
    root: Path,
    kind: str,
    *,
    checkpoint: str = "",
    data_path: str = "",
    node: str = "",
    file_format: str = "ONNX",
    file_name: str = "",
    weights: str = "",
    image_size: str = "",
    model: str = "",
    share_device: bool = False,
    device_target: str = "",
    device_id: int | None = None,
    sets: Sequence[tuple[str, str]] = (),
) -> str:
    """Starts a job and returns its id when it runs.

    `weights` is `model` or `ema`, their moving average; empty takes `ema` where there is one.
    `image_size` is that of an exported file's input, in pixels; empty takes the checkpoint's.
    `device_target` of eval and infer, `device_id`: else the run's, and the first. `sets` are keys
    of the configuration, for eval.

    Raises `UsageError`, `CheckpointError`, `BusyError` (a rank holds the device), `LaunchError`.
    """
    run = run_files.load(root)
    place = _place(run, node)
    _refuse_held_device(run, place, share_device)
    if kind == "eval":
        checkpoint = _checkpoint(run, checkpoint)
        argv = ["--dataset_path", _data(run, data_path), "--checkpoint_path", checkpoint]
        argv += ["--device_target", device_target or run.profile.device_target.value]
        argv += _weights(weights)
        argv += [word for key, value in sets for word in ("--set", f"{key}={value}")]
    elif kind == "export":
        checkpoint = _checkpoint(run, checkpoint)
        name = file_name or str(run.paths.export / f"efficientnet_{_variant(run)}")
        target = Path(name).expanduser().absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        argv = ["--checkpoint_path", checkpoint, "--file_name", str(target)]
        argv += ["--file_format", _format(file_format), *_weights(weights), *_size(image_size)]
    elif kind == "infer":
        argv = ["--onnx_path", _model(run, model), "--dataset_path", _data(run, data_path)]
        argv += ["--device_target", device_target] if device_target else []
    else:
        raise UsageError(f"no job {kind!r}", f"Known: {', '.join(KINDS)}.")
    if device_id is not None:
        argv += ["--device_id", str(device_id)]
    python = place.python or sys.executable
    name = _new_folder(run.paths, kind)
    if kind == "infer":  # what each image was taken for, also where the folder does not say it
        argv += ["--predictions", str(run.paths.job(name).root / "predictions.csv")]
    job = Job(
        id=name,
        type=kind,
        node=place.label,
        argv=(python, "-m", "effnet", kind, *argv, "--json"),
        environment=_environment(run, place),
        token=f"{run.info.id}/job-{name}",
        created=time.time(),
        checkpoint=checkpoint,
    )
    write_job(run.paths, job)
    _spawn(run.paths, name)
    return name


def stop_job(root: Path, job: str) -> None:
    """Ends a job: SIGTERM, then SIGKILL, for all of its processes. Raises `RunNotFoundError`."""
    found = read_job(RunPaths(root), job)
    runner = ownership.read_process(found.pid)
    if runner is None or runner.start_time != found.start_ticks:
        raise BusyError(f"job {job} is over already")
    ownership.send_signal(runner, signal.SIGTERM)
    deadline = time.monotonic() + START_LIMIT_S
    while ownership.is_alive(found.pid, found.start_ticks) and time.monotonic() < deadline:
        time.sleep(0.05)


def wait_for_job(root: Path, job: str) -> JobState:
    """Until the job is over. Raises `LaunchError` when what ran it is gone without a word."""
    paths = RunPaths(root)
    while True:
        is_gone = not _is_running(read_job(paths, job))
        state = next((item for item in read_state(root).jobs if item.job == job), None)
        if state is not None and state.finished_s is not None:
            return state
        if is_gone:
            raise LaunchError(f"job {job} is gone", f"Its log: {paths.job(job).log}")
        time.sleep(0.1)


def last_words(root: Path, job: str) -> list[str]:
    return last_lines(RunPaths(root).job(job).log, 15)[0]


def read_job(paths: RunPaths, job: str) -> Job:
    """Raises `RunNotFoundError`."""
    try:
        return from_plain(Job, json.loads(paths.job(job).job.read_text()))
    except (OSError, ValueError, Mismatch) as error:
        raise RunNotFoundError(f"{paths.root.name} has no job {job!r}") from error


def write_job(paths: RunPaths, job: Job) -> None:
    text = json.dumps(to_plain(job), indent=2) + "\n"
    run_files.write_file(paths.job(job.id).job, text)


def _spawn(paths: RunPaths, name: str) -> None:
    runner_log = paths.job(name).root / "runner.log"
    log = os.open(runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        argv = [sys.executable, "-m", "launcher.shell.job", str(paths.root), name]
        pid = processes.detached(argv, log)
    finally:
        os.close(log)
    os.waitpid(pid, 0)  # it goes into the background at once
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if read_job(paths, name).pid:
            return
        time.sleep(0.01)
    raise LaunchError(f"job {name} does not start", f"Its log: {runner_log}")


def _is_running(job: Job) -> bool:
    return ownership.is_alive(job.pid, job.start_ticks)


def _new_folder(paths: RunPaths, kind: str) -> str:
    """A job's folder under the next number; two at once get two numbers."""
    paths.jobs.mkdir(exist_ok=True)
    while True:
        taken = [int(p.name[:3]) for p in paths.jobs.iterdir() if p.name[:3].isdigit()]
        name = job_id(max(taken, default=0) + 1, kind)
        try:
            paths.job(name).root.mkdir()
        except FileExistsError:
            continue
        return name


def _place(run: StoredRun, node: str) -> Node:
    local = [item for item in run.profile.nodes if item.is_local]
    if node:
        found = [item for item in run.profile.nodes if item.label == node]
        if not found:
            names = ", ".join(item.label for item in run.profile.nodes)
            raise UsageError(f"no node {node!r} in this run", f"Its nodes: {names}.")
        local = [item for item in found if item.is_local]
    if not local:
        raise UsageError("jobs on nodes over SSH are not there yet", "Name a local node.")
    return local[0]


def _refuse_held_device(run: StoredRun, place: Node, share_device: bool) -> None:
    state = read_state(run.paths.root)
    if share_device or run.profile.device_target is DeviceTarget.CPU or state.status.is_over:
        return
    ranks = state.attempt.ranks if state.attempt is not None else ()
    holders = [rank.rank for rank in ranks if rank.node == place.label and not rank.has_exited]
    if holders:
        raise BusyError(
            f"ranks {', '.join(map(str, holders))} hold the devices of {place.label}",
            "Wait until the run is over, choose another --node, or add --share-device.",
        )


def _checkpoint(run: StoredRun, wanted: str) -> str:
    if wanted:
        path = Path(wanted).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"no checkpoint {path}")
        return str(path)
    choice = retrying.choice_for(run, read_state(run.paths.root), world_size=None)
    if choice.path is None:
        raise CheckpointError(f"{run.info.id}: {choice.why}")
    return choice.path


def _model(run: StoredRun, wanted: str) -> str:
    if wanted:
        path = Path(wanted).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"no model {path}")
        return str(path)
    found = sorted(run.paths.export.glob("*.onnx"), key=lambda path: path.stat().st_mtime)
    if not found:
        hint = f"First: effnet-launch export {run.info.id} --format ONNX"
        raise UsageError(f"{run.info.id} has no exported ONNX file", hint)
    return str(found[-1])


def _data(run: StoredRun, wanted: str) -> str:
    chosen = wanted or run.request.data_path or run.profile.data_path
    if not chosen:
        raise UsageError("no data folder is known", "Give one with --data.")
    return str(Path(chosen).expanduser().absolute())


def _variant(run: StoredRun) -> str:
    return str(run.profile.trainer.get("variant", "b2"))


def _format(wanted: str) -> str:
    if wanted.upper() not in FORMATS:
        raise UsageError(f"no format {wanted!r}", f"Known: {', '.join(FORMATS)}.")
    return wanted.upper()


def _weights(wanted: str) -> list[str]:
    if wanted and wanted not in WEIGHTS:
        raise UsageError(f"no weights {wanted!r}", f"Known: {', '.join(WEIGHTS)}.")
    return ["--weights", wanted] if wanted else []


def _size(wanted: str) -> list[str]:
    if wanted and not (wanted.isdecimal() and int(wanted) > 0):
        raise UsageError(f"image size {wanted!r} is no whole number of pixels", "Such as 260.")
    return ["--width", wanted, "--height", wanted] if wanted else []


def _environment(run: StoredRun, place: Node) -> dict[str, str]:
    cpus = len(os.sched_getaffinity(0))
    return {
        **rank_environment(run.profile.device_target, cpus),
        "PYTHONUNBUFFERED": "1",
        **run.profile.environment,
        **place.environment,
    }
