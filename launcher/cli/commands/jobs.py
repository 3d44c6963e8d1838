"""`eval`, `export`, `infer`: jobs on what a run has trained."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from launcher.cli import options

CHECKPOINT = typer.Option("--checkpoint", "--checkpoint_path", help="else the newest whole one")
NODE = typer.Option(help="name of the node to run it on; else rank 0's, which has the checkpoints")
WEIGHTS = typer.Option(help="model, or ema: their moving average; else ema where there is one")
SHARE = typer.Option("--share-device", help="even where a rank of the run holds the device")
DETACH = typer.Option("--detach", help="return when it has started; it goes on")


def register(app: typer.Typer) -> None:
    app.command("eval")(evaluate)
    app.command()(export)
    app.command()(infer)


def evaluate(
    run: Annotated[str, options.RUN] = "latest",
    checkpoint: Annotated[str, CHECKPOINT] = "",
    weights: Annotated[str, WEIGHTS] = "",
    data: Annotated[str, options.DATA] = "",
    node: Annotated[str, NODE] = "",
    share_device: Annotated[bool, SHARE] = False,
    detach: Annotated[bool, DETACH] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Evaluate a checkpoint of a run, while it trains or after.

    effnet-launch eval latest --json

    effnet-launch eval latest --node node1 --data ~/data/validation
    """
    job_options = {"checkpoint": checkpoint, "weights": weights, "data_path": data, "node": node}
    _run(run, "eval", {**job_options, "share_device": share_device}, detach, as_json)


def export(
    run: Annotated[str, options.RUN] = "latest",
    file_format: Annotated[
        str, typer.Option("--format", "--file_format", help="ONNX, MINDIR or AIR")
    ] = "ONNX",
    file_name: Annotated[
        str, typer.Option("--name", "--file_name", help="without its ending; else in RUN/export")
    ] = "",
    checkpoint: Annotated[str, CHECKPOINT] = "",
    weights: Annotated[str, WEIGHTS] = "",
    image_size: Annotated[
        str, typer.Option("--image-size", metavar="PX", help="of the file's input; else trained")
    ] = "",
    node: Annotated[str, NODE] = "",
    share_device: Annotated[bool, SHARE] = False,
    detach: Annotated[bool, DETACH] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Export a checkpoint of a run; the file is compared with the network before it is done.

    effnet-launch export latest --format ONNX --name ~/b2
    """
    job_options = {"checkpoint": checkpoint, "node": node, "share_device": share_device}
    extra = {"file_format": file_format, "file_name": file_name}
    extra |= {"weights": weights, "image_size": image_size}
    _run(run, "export", {**job_options, **extra}, detach, as_json)


def infer(
    run: Annotated[str, options.RUN] = "latest",
    model: Annotated[
        str, typer.Option("--model", "--onnx_path", help="else the newest of RUN/export")
    ] = "",
    data: Annotated[str, options.DATA] = "",
    node: Annotated[str, NODE] = "",
    share_device: Annotated[bool, SHARE] = False,
    detach: Annotated[bool, DETACH] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Run an exported ONNX file over a data folder and print its accuracy.

    effnet-launch infer latest --data ~/data/digits
    """
    job_options = {"model": model, "data_path": data, "node": node}
    _run(run, "infer", {**job_options, "share_device": share_device}, detach, as_json)


def _run(run: str, kind: str, job_options: dict[str, Any], detach: bool, as_json: bool) -> None:
    """Starts the job and waits for it. Ctrl-C leaves it running."""
    from launcher.cli.commands.reading import open_supervised
    from launcher.cli.output.console import print_json, screen
    from launcher.cli.output.copying import copying
    from launcher.jobs import control

    reader = open_supervised(run)
    root = reader.paths.root
    with copying() as progress:
        job = control.start_job(root, kind, progress=progress, **job_options)
    console = screen()
    if detach:
        if as_json:
            print_json({"job": job})
        else:
            console.print(f"job {job}; its log: effnet-launch logs {reader.run} --job {job}")
        return
    try:
        done = control.wait_for_job(root, job)
    except KeyboardInterrupt:
        console.print(
            f"\nthe job goes on; see: effnet-launch logs {reader.run} --job {job}"
            f"\nend it with: effnet-launch stop {reader.run} --job {job}"
        )
        raise typer.Exit(130) from None
    if as_json:
        print_json({"job": job, "exit_code": done.exit_code, "result": done.result})
    elif done.exit_code == 0:
        for key, value in (done.result or {}).items():
            console.print(f"{key}: {value}", markup=False)
    else:
        console.print(f"{kind} failed, exit code {done.exit_code}", style="bold red")
        for line in control.last_words(root, job):
            console.print(line, markup=False)
        console.print(f"log: {reader.paths.job(job).log}", style="dim", markup=False)
    raise typer.Exit(0 if done.exit_code == 0 else 1)
