"""Starting and resuming a run as the reference's training scripts do, and waiting for its end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from launcher.client import RunReader, is_run
from launcher.core.profile.check import SET_BY_THE_LAUNCHER
from launcher.core.profile.model import Profile
from launcher.core.text.toml import parse_toml
from launcher.errors import InvalidError, PreflightError, UsageError
from launcher.reference.arguments import Arguments
from launcher.reference.links import link, refuse_files_of_others
from launcher.reference.profiles import SET_ENV, Machine, profile_of

LOG, CHECKPOINT = Path("log.txt"), Path("checkpoint")


@dataclass(frozen=True)
class Options:
    """Options of our scripts beside the reference's arguments."""

    detach: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    config: str = ""
    recipe: str = ""
    name: str = ""
    ignore: tuple[str, ...] = ()
    no_preflight: bool = False
    command: tuple[str, ...] = ()


def start(arguments: Arguments, options: Options) -> int:
    """Starts a new run; -> exit code."""
    refuse_files_of_others((LOG, CHECKPOINT))
    profile = _profile(arguments, options, {})
    return _watch(_start(profile, options), options)


def resume(arguments: Arguments, options: Options) -> int:
    """Starts an attempt of the checkpoint's run, else a new run from it; -> exit code."""
    from launcher import client

    refuse_files_of_others((LOG, CHECKPOINT))
    place = Path(os.path.realpath(arguments.path))
    root = run_of(place)
    if root is None:
        if place.is_dir():
            raise UsageError(
                f"{arguments.path_as_given} is not in a run, so its newest checkpoint is not known",
                "Give the checkpoint's file.",
            )
        profile = _profile(arguments, options, {})
        show(
            f"{arguments.path_as_given} is not from a run of this machine: a new run starts from it"
        )
        return _watch(_start(profile, options, str(place)), options)
    before = client.profile_of(root)
    wanted = _profile(arguments, options, before.trainer)
    request = client.ResumeRequest(
        checkpoint="auto" if place.is_dir() else str(place),
        settings=options.settings,
        preflight=False,
    )
    edited = None if _same_ranks(before, wanted) else wanted
    choice = client.resume(root, request, profile=edited)
    for skipped in choice.skipped:
        show(f"skipped {skipped.path}: {skipped.why}")
    show(f"resumed from {choice.path}, step {choice.step}: {choice.why}")
    return _watch(str(root), options)


def run_of(path: Path) -> Path | None:
    """The run directory of a checkpoint, an exported file, or their folder."""
    return next((folder for folder in (path, *path.parents[:2]) if is_run(folder)), None)


def show(text: str) -> None:
    print(text, flush=True)


def _profile(arguments: Arguments, options: Options, trainer: Mapping[str, Any]) -> Profile:
    settings = {**trainer, **(_config(options.config) if options.config else {})}
    if options.recipe:
        settings["recipe"] = options.recipe
    profile, notes = profile_of(arguments, _this_machine(), settings)
    for note in notes:
        show(f"note: {note}")
    return profile


def _start(profile: Profile, options: Options, checkpoint: str = "") -> str:
    """Starts a run as `effnet-launch start` does. Raises PreflightError when a check failed."""
    from launcher import client
    from launcher.cli.commands.preflight import print_warnings
    from launcher.cli.options import confirm_on_terminal

    request = client.StartRequest(
        settings=options.settings,
        name=options.name,
        resume=checkpoint,
        ignore=options.ignore,
        preflight=not options.no_preflight,
    )
    try:
        return client.start(
            profile,
            request,
            command=options.command,
            confirm_host=confirm_on_terminal(),
            on_rows=print_warnings(profile, options.ignore),
        )
    except PreflightError as error:
        # The profile is this script's own: `effnet-launch` cannot find it by name.
        named = f"effnet-launch doctor {profile.name}"
        here = f"effnet-launch doctor --target {profile.device_target.value}"
        problems = tuple(problem.replace(named, here) for problem in error.problems)
        flags = error.hint.partition("start anyway: ")[2]
        hint = f"Fix them, or start anyway: {flags or '--no-preflight'}"
        raise PreflightError(error.message, problems, hint) from None


def _config(file: str) -> dict[str, Any]:
    """A configuration file's keys, without those that the launcher sets itself."""
    try:
        values = parse_toml(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidError(f"--config {file} can't be read", (str(error),)) from None
    return {key: value for key, value in values.items() if key not in SET_BY_THE_LAUNCHER}


def _this_machine() -> Machine:
    interfaces = psutil.net_if_addrs().values()
    return Machine(
        addresses={item.address for addresses in interfaces for item in addresses},
        has_mpirun=shutil.which("mpirun") is not None,
        environment=os.environ,
        set_env=SET_ENV if os.path.exists(SET_ENV) else "",
    )


def _same_ranks(before: Profile, wanted: Profile) -> bool:
    """Whether the run can continue with its own profile: ranks, devices and data are the same."""

    def key(profile: Profile) -> Sequence[object]:
        devices = [[item.device_id for item in node.devices] for node in profile.nodes]
        return profile.device_target, profile.world_size, devices, profile.data_path

    return key(before) == key(wanted) and before.trainer == wanted.trainer


def _watch(run: str, options: Options) -> int:
    """Creates the links, then waits until the run trains (`--detach`) or is over."""
    from launcher import client
    from launcher.cli.output import follow
    from launcher.cli.output.console import screen

    reader = client.open_run(run)
    _link(reader)
    show(f"run {reader.run}; watch it with: effnet-tui {reader.run}")
    if options.detach:
        code = follow.wait_until_up(reader, screen())
        show(f"the run continues; stop it with: effnet-launch stop {reader.run}")
    else:
        code = follow.follow(reader, screen())
    return _rank_code(reader) if code == 1 else code


def _link(reader: RunReader) -> None:
    state = reader.poll_state()
    attempt = state.attempt.attempt if state.attempt is not None else 1
    log = reader.paths.attempt(attempt).rank(0).log
    for path, target in ((LOG, log), (CHECKPOINT, reader.paths.checkpoint)):
        link(path, target)
        show(f"{path} -> {target}")


def _rank_code(reader: RunReader) -> int:
    failure = reader.poll().failure
    if failure is None:
        return 1
    if failure.signal is not None:
        return 128 + failure.signal
    return failure.exit_code or 1
