"""`start`, `plan`, `stop`, `resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from launcher.cli import options


def register(app: typer.Typer) -> None:
    app.command()(start)
    app.command()(plan)
    app.command()(stop)
    app.command()(resume)


def start(
    profile: Annotated[str, options.PROFILE],
    settings: Annotated[list[str], options.SET] = [],  # noqa: B006 typer copies it
    data: Annotated[str, options.DATA] = "",
    name: Annotated[str, typer.Option(help="id of the run, instead of a made one")] = "",
    resume: Annotated[
        str, typer.Option(metavar="FILE.ckpt", help="go on from a checkpoint of another run")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="show progress to the end")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--plan", help="print the plan and touch nothing")
    ] = False,
    ignore: Annotated[list[str], options.IGNORE] = [],  # noqa: B006
    no_preflight: Annotated[bool, options.NO_PREFLIGHT] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Start a run and return when it trains (or has failed). It goes on without this terminal.

    All nodes are looked at first, as `effnet-launch preflight` does; a red check stops the start.

    effnet-launch start local-cpu --follow

    effnet-launch start local-cpu --set epoch_size=5 --data ~/data/digits

    effnet-launch start gpu-2x8-mpirun --ignore clock --ignore disk@10.0.0.2
    """
    from launcher import client
    from launcher.cli.commands.preflight import require_green
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import print_json, screen
    from launcher.core.checks.row import checked_names

    found = client.find_profile(profile)
    sets = options.pairs(settings)
    if dry_run:
        _show_plan(client.plan_run(found, name=name, sets=sets, data_path=data), as_json)
        return
    command = client.command_line(
        "start", profile, settings=sets, data_path=data or None, ignore=tuple(ignore)
    )
    ask = options.ask_on_terminal()
    ignored = checked_names(ignore)

    def look() -> None:
        if not no_preflight:
            require_green(found, sets, data, ignored, ask)

    run = client.start_run(
        found,
        sets=sets,
        name=name,
        data_path=data,
        command=command,
        ask=ask,
        resume=resume,
        look=look,
    )
    reader = client.open_run(run)
    if as_json:
        code = following.wait_until_up(reader)
        print_json(following.summary(reader))
        raise typer.Exit(code)
    console = screen()
    console.print(f"run {run}", markup=False)
    if follow:
        raise typer.Exit(following.follow(reader, console))
    raise typer.Exit(following.wait_until_up(reader, console))


def plan(
    profile: Annotated[str, options.PROFILE],
    settings: Annotated[list[str], options.SET] = [],  # noqa: B006
    data: Annotated[str, options.DATA] = "",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Print everything that a start would write and run; nothing is touched.

    effnet-launch plan local-cpu

    effnet-launch plan local-cpu-8p --json
    """
    from launcher import client

    sets = options.pairs(settings)
    _show_plan(client.plan_run(client.find_profile(profile), sets=sets, data_path=data), as_json)


def stop(
    run: Annotated[str, options.RUN] = "latest",
    no_save: Annotated[
        bool, typer.Option("--no-save", help="end at once, without a last checkpoint")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="return when it was asked")] = False,
    job: Annotated[str, typer.Option(help="end this job of the run, and not the training")] = "",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Save and end a run: ask, then SIGTERM, then SIGKILL, then look that nothing is left.

    effnet-launch stop

    effnet-launch stop local-cpu-20260102-101500-1a2b --no-save
    """
    from launcher import client
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import print_json, screen
    from launcher.jobs import control

    reader = client.open_run(run)
    if job:
        control.stop_job(reader.paths.root, job)
        return
    client.stop_run(reader, save=not no_save)
    console = None if as_json else screen()
    code = 0 if no_wait else following.wait_until_over(reader, console)
    if as_json:
        print_json(following.summary(reader))
    raise typer.Exit(code)


def resume(
    run: Annotated[str, options.RUN] = "latest",
    checkpoint: Annotated[
        str, typer.Option(help="`auto` (the newest whole one), a path, or `scratch`")
    ] = "auto",
    profile: Annotated[str, typer.Option(help="continue with this (edited) profile")] = "",
    settings: Annotated[list[str], options.SET] = [],  # noqa: B006
    data: Annotated[str, options.NEW_DATA] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="show progress to the end")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be taken")] = False,
    ignore: Annotated[list[str], options.IGNORE] = [],  # noqa: B006
    no_preflight: Annotated[bool, options.NO_PREFLIGHT] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Open a new attempt from the newest whole checkpoint; say which, why, and what is lost.

    All nodes are looked at first, as `effnet-launch preflight` does; a red check stops the resume.
    With an edited profile rank 0 may be on another node: the checkpoint is copied there.

    effnet-launch resume

    effnet-launch resume local-cpu-20260102-101500-1a2b --checkpoint step-00000045.ckpt

    effnet-launch resume --data /mnt/other/digits
    """
    from launcher import client
    from launcher.cli.commands.preflight import require_green
    from launcher.cli.output import follow as following
    from launcher.cli.output.console import print_json, screen
    from launcher.cli.output.copying import copied_text, copying
    from launcher.core.checks.row import checked_names

    reader = client.open_run(run)
    found = client.find_profile(profile) if profile else None
    sets = options.pairs(settings)
    ask, ignored = options.ask_on_terminal(), checked_names(ignore)

    def look(profile: client.Profile, sets: client.Settings, data: str) -> None:
        if not no_preflight:
            require_green(profile, sets, data, ignored, ask, "resume")

    if dry_run:
        choice = client.resume_choice(reader, checkpoint, profile=found, sets=sets)
    else:
        with copying() as progress:
            choice = client.resume_run(
                reader,
                checkpoint=checkpoint,
                profile=found,
                sets=sets,
                data_path=data,
                progress=progress,
                look=look,
            )
    console = screen()
    if not as_json:
        for skipped in choice.skipped:
            console.print(f"passed over {skipped.path}: {skipped.why}", markup=False)
        lost = f", {choice.steps_lost} steps are lost" if choice.steps_lost else ""
        where = f"{choice.path}, step {choice.step}{lost}" if choice.path else "from the beginning"
        console.print(f"{where}: {choice.why}", markup=False)
        if choice.copied_to:
            console.print(copied_text(choice, dry_run), markup=False)
    if dry_run:
        code = 0 if choice.path else 5
    elif follow and not as_json:
        code = following.follow(reader, console)
    else:
        code = following.wait_until_up(reader, None if as_json else console)
    if as_json:
        print_json({"choice": choice, **following.summary(reader)})
    raise typer.Exit(code)


def _show_plan(plan: object, as_json: bool) -> None:
    from launcher.cli.output.console import screen
    from launcher.cli.output.plan_text import print_plan
    from launcher.core.plan.model import Plan

    assert isinstance(plan, Plan)
    if as_json:
        print(plan.to_json())
    else:
        print_plan(plan, screen())
