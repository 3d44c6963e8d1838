"""`eval`, `export`, `infer`: jobs on what a run has trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from launcher.cli import options
from launcher.core.run.requests import EVAL, EXPORT, INFER, JobRequest
from launcher.errors import INTERRUPTED

LAST_LINES = 15
DETACH = typer.Option("--detach", help="return when the job has started")


def _run(
    request: JobRequest,
    run: Annotated[str, options.RUN] = "latest",
    detach: Annotated[bool, DETACH] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Starts the job and waits for it. The job continues after Ctrl-C."""
    from launcher import client
    from launcher.cli.output.console import errors, print_json, screen
    from launcher.cli.output.copying import copying
    from launcher.cli.output.interrupt import job_text, on_ctrl_c, started_jobs
    from launcher.core.diagnosis.event_text import value_text
    from launcher.core.diagnosis.words import export_verdict

    reader = client.open_run(run)
    known = started_jobs(reader)
    with on_ctrl_c(lambda: job_text(reader, known)), copying() as progress:
        job = client.start_job(reader, request, on_progress=progress)
    console = screen()
    if detach:
        if as_json:
            print_json({"job": job})
        else:
            console.print(f"job {job}; its log: effnet-launch logs {reader.run} --job {job}")
        return
    try:
        done = client.wait_for_job(reader, job, lambda words: errors().print(words))
    except KeyboardInterrupt:
        console.print(
            f"\nthe job continues; its log: effnet-launch logs {reader.run} --job {job}"
            f"\nstop it with: effnet-launch stop {reader.run} --job {job}"
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"job": job, "exit_code": done.exit_code, "result": done.result})
    elif done.exit_code == 0:
        result = done.result or {}
        for key, value in result.items():
            console.print(f"{key}: {value_text(value)}")
        if (verdict := export_verdict(result)) is not None:
            console.print(verdict[0], style="green" if verdict[1] else "bold red")
    else:
        how = "killed" if done.exit_code is None else f"exit code {done.exit_code}"
        console.print(f"{request.kind} failed, {how}", style="bold red")
        for line in reader.job_log(job).tail(LAST_LINES).lines:
            console.print(line.text)
        console.print(f"log: {reader.paths.job(job).log}", style="dim")
    raise typer.Exit(0 if done.exit_code == 0 else 1)


def _command(kind: str, text: str) -> Callable[..., None]:
    command = options.with_request(JobRequest, kind=kind)(_run)
    command.__name__, command.__doc__ = kind, text
    return command


eval_ = _command(
    EVAL,
    """Evaluate a checkpoint of a run, while it trains or after.

    effnet-launch eval latest --json

    effnet-launch eval latest --node node1 --data ~/data/validation
    """,
)
export = _command(
    EXPORT,
    """Export a checkpoint of a run, and compare the file's results with the network's.

    effnet-launch export latest --format ONNX --name ~/b2
    """,
)
infer = _command(
    INFER,
    """Run an exported ONNX file over a data folder and print its accuracy.

    effnet-launch infer latest --data ~/data/digits
    """,
)
