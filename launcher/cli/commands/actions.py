"""`start`, `plan`, `stop`, `resume`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options
from launcher.core.run.requests import ResumeRequest, StartRequest, StopRequest

if TYPE_CHECKING:
    from launcher.core.profile.model import Profile


@options.with_request(StartRequest)
def start(
    profile: Annotated[str, options.PROFILE],
    request: StartRequest,
    command: Annotated[list[str], options.COMMAND] = [],  # noqa: B006 typer copies it
    follow: Annotated[bool, options.FOLLOW] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--plan", help="print the plan and change nothing")
    ] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Start a run and return when it trains or has failed. It does not need this terminal.

    All nodes are checked first, as `effnet-launch preflight` does; a failed check stops the start.

    effnet-launch start local-cpu --follow

    effnet-launch start local-cpu --set epoch_size=5 --data ~/data/digits

    effnet-launch start gpu-2x8-mpirun --ignore clock --ignore disk@10.0.0.2

    effnet-launch start my-cluster -- python train.py --epochs 90
    """
    from launcher import client
    from launcher.cli.commands.preflight import print_warnings
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import errors, print_json, screen
    from launcher.cli.output.interrupt import on_ctrl_c, start_text

    found = client.find_profile(profile)
    request = replace(request, program=tuple(command))
    if dry_run:
        _show_plan(found, request, as_json, profile)
        return
    for note in client.configuration(found, request).notes:
        errors().print(f"note: {note}", style="yellow", soft_wrap=True)
    began_s = time.time()
    with on_ctrl_c(lambda: start_text(began_s)):
        run = client.start(
            found,
            request,
            command=request.command(profile),
            confirm_host=options.confirm_on_terminal(),
            on_rows=print_warnings(found, request.ignore),
        )
        reader, console = client.open_run(run), screen()
        if not as_json:
            console.print(f"run {run}")
    if as_json:
        code = following.wait_until_up(reader)
        print_json(following.summary(reader))
        raise typer.Exit(code)
    if follow:
        raise typer.Exit(following.follow(reader, console))
    raise typer.Exit(following.wait_until_up(reader, console))


def plan(
    profile: Annotated[str, options.PROFILE],
    command: Annotated[list[str], options.COMMAND] = [],  # noqa: B006 typer copies it
    settings: Annotated[list[str], options.SETTINGS] = [],  # noqa: B006
    data: Annotated[str, options.DATA] = "",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Print everything that a start would write and run; nothing is changed.

    effnet-launch plan local-cpu

    effnet-launch plan local-cpu-8p --json

    effnet-launch plan local-cpu-8p -- python train.py --epochs 90
    """
    from launcher import client

    pairs = options.pairs(settings)
    request = StartRequest(settings=pairs, data_path=data, program=tuple(command))
    _show_plan(client.find_profile(profile), request, as_json, profile)


@options.with_request(StopRequest)
def stop(
    request: StopRequest,
    run: Annotated[str, options.RUN] = "latest",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="return when the stop was requested")
    ] = False,
    job: Annotated[str, typer.Option(help="stop this job of the run, and not the training")] = "",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Save and stop a run: stop request, SIGTERM, SIGKILL; then check that no process is left.

    Of a failed run, end what waits for its next attempt ([launch] keep_warm_s).

    effnet-launch stop

    effnet-launch stop local-cpu-20260102-101500-1a2b --no-save
    """
    from launcher import client
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import errors, print_json, screen
    from launcher.cli.output.interrupt import on_ctrl_c, stop_text

    reader = client.open_run(run)
    if job:
        client.stop_job(reader, job)
        return
    kept = reader.poll().kept
    waiting = errors().status("waiting for the supervisor's answer …")
    with on_ctrl_c(lambda: stop_text(reader)), waiting:
        replaced = client.stop(reader, request)
    if replaced:
        text = f"its supervisor (process {replaced}) did not answer: it was ended and replaced"
        errors().print(text, style="yellow")
    console = None if as_json else screen()
    if kept is not None:
        code = 0
        if console is not None:
            console.print(f"ended: {kept.what}")
    else:
        code = 0 if no_wait else following.wait_until_over(reader, console)
    if as_json:
        print_json(following.summary(reader))
    raise typer.Exit(code)


@options.with_request(ResumeRequest)
def resume(
    request: ResumeRequest,
    run: Annotated[str, options.RUN] = "latest",
    follow: Annotated[bool, options.FOLLOW] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print which checkpoint would be used")
    ] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Start a new attempt from the newest complete checkpoint; print which, why, and what is lost.

    All nodes are checked first, as `effnet-launch preflight` does; a failed check stops the resume.
    With an edited profile rank 0 may be on another node: the checkpoint is copied there.

    effnet-launch resume

    effnet-launch resume local-cpu-20260102-101500-1a2b --checkpoint step-00000045.ckpt

    effnet-launch resume --data /mnt/other/digits
    """
    from launcher import client
    from launcher.cli.commands.preflight import print_warnings
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import print_json, screen
    from launcher.cli.output.copying import copied_text, copying
    from launcher.cli.output.interrupt import on_ctrl_c, resume_text

    reader = client.open_run(run)
    began_s = time.time()
    if dry_run:
        choice = client.resume_choice(reader, request)
    else:
        with on_ctrl_c(lambda: resume_text(reader, began_s)), copying() as progress:
            choice = client.resume(
                reader,
                request,
                confirm_host=options.confirm_on_terminal(),
                on_rows=print_warnings(client.profile_of(reader), request.ignore),
                on_progress=progress,
            )
    console = screen()
    if not as_json:
        for skipped in choice.skipped:
            console.print(f"skipped {skipped.path}: {skipped.why}")
        lost = f", {choice.steps_lost} steps are lost" if choice.steps_lost else ""
        step = "" if choice.step is None else f", step {choice.step}"
        where = f"{choice.path}{step}{lost}" if choice.path else "from the beginning"
        console.print(f"{where}: {choice.why}")
        if choice.copied_to:
            console.print(copied_text(choice, dry_run))
    if dry_run:
        code = 0 if choice.path else 5
    elif follow and not as_json:
        code = following.follow(reader, console)
    else:
        code = following.wait_until_up(reader, None if as_json else console)
    if as_json:
        print_json({"choice": choice, **following.summary(reader)})
    raise typer.Exit(code)


def note(
    run: Annotated[str, options.RUN],
    text: Annotated[str, typer.Argument(help="the new note; an empty one removes it")],
) -> None:
    """Change why a run was made, as shown by `runs` and `status`.

    effnet-launch note latest "lower learning rate, node-b replaced"
    """
    from launcher import client

    client.set_note(run, text)


def _show_plan(profile: Profile, request: StartRequest, as_json: bool, name: str) -> None:
    from launcher import client
    from launcher.cli.output.console import screen
    from launcher.cli.output.plan_text import (
        print_configuration,
        print_copies,
        print_estimate,
        print_plan,
        print_spares,
    )
    from launcher.core.profile.copies import copies_node
    from launcher.core.text.codec import to_plain
    from launcher.core.text.terminal import escape_json

    plan = client.plan(profile, request)
    configuration = client.configuration(profile, request)
    if as_json:
        spares = [node.label for node in profile.spares]
        node = copies_node(profile)
        copies = None if node is None else node.label
        whole = {**to_plain(plan), "spares": spares, "copies_node": copies}
        whole["retry_nodes"] = profile.retry.nodes.value
        whole["estimate"] = to_plain(configuration.estimate)
        print(escape_json(json.dumps(whole, indent=2, ensure_ascii=False)))
        return
    print_plan(plan, screen())
    print_spares(profile, screen())
    print_copies(profile, screen())
    print_configuration(configuration, screen())
    if configuration.values:
        print_estimate(configuration.estimate, name, screen())
