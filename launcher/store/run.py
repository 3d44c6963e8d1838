"""Makes a run directory, and reads and edits its fixed part."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.plan.model import PlannedFile
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.profile.secrets import redact
from launcher.core.run.info import RunInfo, parse_run_info
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import ResumeRequest, StartRequest
from launcher.errors import BusyError, LaunchError, ProfileError, RunNotFoundError
from launcher.process import private
from launcher.store import owner, secrets
from launcher.store.atomic import write_file


@dataclass(frozen=True)
class StoredRun:
    """A run directory's fixed part."""

    paths: RunPaths
    info: RunInfo
    profile: Profile

    @property
    def request(self) -> StartRequest:
        """What holds for every attempt of the run."""
        return self.info.start


def edited(run: StoredRun, request: ResumeRequest, profile: Profile | None) -> StoredRun:
    """The run with what a resume changes; later settings win."""
    start = run.info.start
    settings = dict(start.settings) | dict(request.settings)
    start = replace(
        start,
        settings=tuple(settings.items()),
        data_path=request.data_path or start.data_path,
        note=request.note or start.note,
    )
    return replace(run, profile=profile or run.profile, info=replace(run.info, start=start))


def write_edited(run: StoredRun) -> None:
    """Writes an edited run for its next supervisor; `settle_edit` keeps it or restores the old one.

    Raises `LaunchError`.
    """
    paths = run.paths
    with _writing():
        old = load(paths.root).profile
        before = {"profile": old.to_json() + "\n", "run": paths.run.read_text()}
        write_file(paths.before_edit, json.dumps(before) + "\n")
        secrets.keep_edited(paths.root, run.profile.secrets, old.secrets)
        write_file(paths.profile, run.profile.to_json() + "\n")
        write_file(paths.run, run.info.to_json())


def write_nodes(paths: RunPaths, profile: Profile) -> None:
    """The run's nodes from now on. Raises `LaunchError`."""
    with _writing():
        write_file(paths.profile, profile.to_json() + "\n")


def write_note(root: Path, note: str) -> None:
    """Changes why the run was made. Raises `LaunchError`."""
    run = load(root)
    with _writing(), contextlib.suppress(FileNotFoundError):  # no resume has edited the run
        write_file(run.paths.run, run.info.with_note(note).to_json())
        before = json.loads(run.paths.before_edit.read_text())
        info = parse_run_info(before["run"])
        if info is not None:
            edited = {**before, "run": info.with_note(note).to_json()}
            write_file(run.paths.before_edit, json.dumps(edited) + "\n")


def settle_edit(paths: RunPaths, *, keep: bool) -> bool:
    """After an attempt with edited settings: keeps them, or restores the run as it was before.

    -> whether it was restored. Settings that the trainer refused would fail every later resume.
    """
    try:
        before = json.loads(paths.before_edit.read_text())
        if not keep:
            write_file(paths.profile, before["profile"])
            write_file(paths.run, before["run"])
        secrets.settle(paths.root, keep=keep)
        paths.before_edit.unlink()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaunchError(f"{paths.before_edit}: {error}") from error
    return not keep


def create(root: Path, info: RunInfo, profile: Profile) -> RunPaths:
    """A new run directory. Raises `LaunchError`, naming what cannot be written."""
    paths = RunPaths(root)
    with _writing():
        private.make_folder(root.parent)
        try:
            root.mkdir(private.FOLDER_MODE)
        except FileExistsError as error:
            raise BusyError(f"there is a run {root.name} already") from error
    try:
        owner.register(root)
        with _writing():
            private.make_folder(paths.attempts)
            private.make_folder(paths.checkpoint)
            secrets.keep(root, profile.secrets)
            write_file(paths.profile, profile.to_json() + "\n")
            write_file(paths.run, replace(info, is_registered=True).to_json())
    except LaunchError:
        discard(root)
        raise
    return paths


def discard(root: Path) -> None:
    """Removes a run that never began."""
    owner.forget(root)
    shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaunchError(
            f"the run directory cannot be written: {error}",
            "Set EFFNET_RUNS_DIR to a writable folder with free space.",
        ) from error


def load(root: Path) -> StoredRun:
    """Raises `RunNotFoundError` when there is none, `LaunchError` when it is damaged."""
    paths = RunPaths(root)
    try:
        text = paths.run.read_bytes()
        profile_text = paths.profile.read_bytes()
    except OSError as error:
        raise RunNotFoundError(f"{root} is not a run directory: {error}") from error
    info = parse_run_info(text)
    if info is None:
        raise LaunchError(f"{paths.run} is damaged")
    try:
        profile = profile_from_json(profile_text)
    except ProfileError as error:
        lines = "; ".join(error.problems)
        raise LaunchError(f"{paths.profile} is damaged: {lines}") from error
    return StoredRun(paths, info, profile.with_secrets(secrets.read(root)))


def check_secrets(profile: Profile) -> None:
    """Raises `LaunchError` when a value is not known, as in a run that was copied or moved."""
    if unknown := profile.unknown_secrets:
        raise LaunchError(
            f"the value of {', '.join(unknown)} is not known: it is not in the run directory",
            "Resume with the profile that has it: effnet-launch resume RUN --profile FILE",
        )


def move_secrets(run: StoredRun) -> None:
    """Earlier versions wrote the values into profiles and plans. Raises `LaunchError`."""
    paths = run.paths
    values = {value for found in run.profile.secrets.values() for value in found.values()}
    with _writing():
        if values and not secrets.read(paths.root):
            secrets.keep(paths.root, run.profile.secrets)
        for name in ("profile.json", "attempts/*/profile.json", "attempts/*/plan.json"):
            for path in paths.root.glob(name) if values else ():
                text = path.read_text()
                hidden = redact(text, values)
                if hidden != text:
                    write_file(path, hidden)


def write_planned(files: tuple[PlannedFile, ...]) -> None:
    """The plan's files of this machine."""
    for file in files:
        if "" in file.nodes:
            write_file(Path(file.on("").path), file.content, file.mode)


def versions() -> Mapping[str, str]:
    """Versions of what a run's result depends on, as far as they are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for package in ("effnet-tui", "mindspore", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
