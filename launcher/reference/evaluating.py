"""`run_eval.sh`, `run_eval_gpu.sh`, `run_infer_onnx.sh`: a job of a run, or a lone process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from launcher import programs
from launcher.client import LogReader
from launcher.core.plan import cpu
from launcher.core.profile.model import DeviceTarget
from launcher.core.run.paths import RunPaths
from launcher.errors import INTERRUPTED, UsageError
from launcher.reference.arguments import Arguments
from launcher.reference.links import link, set_aside
from launcher.reference.training import Options, run_of, show

LAST_LINES = 15


def run(arguments: Arguments, options: Options) -> int:
    """Evaluates a checkpoint or an ONNX file; -> the exit code of `python -m effnet`."""
    kind = "infer" if arguments.script.name == "run_infer_onnx" else "eval"
    if kind == "infer" and arguments.target is DeviceTarget.ASCEND:
        message = "onnxruntime runs on CPU and GPU here, not on Ascend"
        raise UsageError(message, arguments.script.hint)
    log = Path("infer_onnx.log" if kind == "infer" else "eval_log.txt")
    root = run_of(Path(os.path.realpath(arguments.path)))
    if root is None:
        return _alone(kind, arguments, options, log)
    return _in_run(kind, root, arguments, options, log)


def _in_run(kind: str, root: Path, arguments: Arguments, options: Options, log: Path) -> int:
    """A job of the file's run; its log is in the run directory."""
    from launcher import client

    request = client.JobRequest(
        kind,
        data_path=arguments.data_path,
        device_target=arguments.target.value,
        device_id=arguments.devices[0],
        checkpoint=arguments.path if kind == "eval" else "",
        model=arguments.path if kind == "infer" else "",
        settings=options.settings,
    )
    job = client.start_job(root, request)
    target = RunPaths(root).job(job).log
    _keep_earlier(log)
    link(log, target)
    show(f"job {job} of {root.name}; {log} -> {target}")
    if options.detach:
        return 0
    try:
        code = client.wait_for_job(root, job).exit_code
    except KeyboardInterrupt:
        show(f"the job continues; stop it with: effnet-launch stop {root.name} --job {job}")
        return INTERRUPTED
    return _show_end(log, 1 if code is None else code)


def _alone(kind: str, arguments: Arguments, options: Options, log: Path) -> int:
    """A checkpoint or ONNX file from elsewhere: `python -m effnet` writes to the log."""
    name = "--onnx_path" if kind == "infer" else "--checkpoint_path"
    argv = [*programs.command(programs.TRAINER), kind, name, arguments.path_as_given]
    argv += ["--dataset_path", arguments.data_path]
    argv += ["--device_target", arguments.target.value, "--device_id", str(arguments.devices[0])]
    argv += [word for key, value in options.settings for word in ("--set", f"{key}={value}")]
    cpus = len(os.sched_getaffinity(0))
    tuned = cpu.rank_environment(arguments.target, cpus)
    _keep_earlier(log)
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**tuned, **os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=options.detach,
        )
    if options.detach:
        show(f"process {process.pid} continues; its log: {log}")
        return 0
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        return INTERRUPTED
    return _show_end(log, code if code >= 0 else 128 - code)


def _keep_earlier(log: Path) -> None:
    """Keeps the log of an earlier call under another name; an old link is removed."""
    aside = set_aside(log)
    if aside is not None:
        show(f"the earlier {log} was renamed to {aside}")


def _show_end(log: Path, code: int) -> int:
    """Prints the result from the end of the log; -> `code`."""
    lines = [line.text for line in LogReader(log).tail(LAST_LINES).lines]
    if code:
        show(f"failed, exit code {code}; the end of {log}:")
    for line in lines if code else [item for item in lines if item.startswith(("result", "top-"))]:
        show(line)
    return code
