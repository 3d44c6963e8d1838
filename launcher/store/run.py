"""Making a run directory, and reading what its supervisor needs from it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.core.plan.model import PlannedFile
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run.info import RunInfo, parse_run_info
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import BusyError, LaunchError, ProfileError, RunNotFoundError
from launcher.store.atomic import write_file


@dataclass(frozen=True)
class StartRequest:
    """What was asked for at the start and holds for every attempt of the run."""

    data_path: str = ""
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StoredRun:
    """A run directory's fixed part."""

    paths: RunPaths
    info: RunInfo
    profile: Profile
    request: StartRequest


def edited(run: StoredRun, profile: Profile | None, sets: tuple[tuple[str, str], ...]) -> StoredRun:
    """The run as it is with another profile and more settings; later settings win."""
    settings = dict(run.request.settings) | dict(sets)
    request = replace(run.request, settings=tuple(settings.items()))
    return replace(run, profile=profile or run.profile, request=request)


def write_edited(run: StoredRun) -> None:
    """Makes an edited run what its next supervisor reads; `settle_edit` says if it stays so.

    Raises `LaunchError`.
    """
    paths = run.paths
    text = json.dumps({**to_plain(run.info), "start": to_plain(run.request)}, indent=2) + "\n"
    try:
        before = {"profile": paths.profile.read_text(), "run": paths.run.read_text()}
        write_file(paths.before_edit, json.dumps(before) + "\n")
        write_file(paths.profile, run.profile.to_json() + "\n")
        write_file(paths.run, text)
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"the run directory cannot be written: {error}") from error


def settle_edit(paths: RunPaths, *, keep: bool) -> bool:
    """After an attempt with edited settings: they stay, or the run is again what it was before.

    -> whether it was put back. Settings that the trainer refused would fail every later resume.
    """
    try:
        before = json.loads(paths.before_edit.read_text())
        if not keep:
            write_file(paths.profile, before["profile"])
            write_file(paths.run, before["run"])
        paths.before_edit.unlink()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaunchError(f"{paths.before_edit}: {error}") from error
    return not keep


def create(root: Path, info: RunInfo, profile: Profile, request: StartRequest) -> RunPaths:
    """A new run directory. Raises `LaunchError`, naming what cannot be written."""
    paths = RunPaths(root)
    text = json.dumps({**to_plain(info), "start": to_plain(request)}, indent=2) + "\n"
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir()
    except FileExistsError as error:
        # Somebody else's: nothing of it may be touched.
        raise BusyError(f"there is a run {root.name} already") from error
    except OSError as error:
        raise _unwritable(error) from error
    try:
        paths.attempts.mkdir()
        paths.checkpoint.mkdir()
        write_file(paths.profile, profile.to_json() + "\n")
        write_file(paths.run, text)
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)
        raise _unwritable(error) from error
    return paths


def _unwritable(error: OSError) -> LaunchError:
    return LaunchError(
        f"the run directory cannot be written: {error}",
        "Set EFFNET_RUNS_DIR to a folder with space that you may write.",
    )


def load(root: Path) -> StoredRun:
    """Raises `RunNotFoundError` when there is none, `LaunchError` when it is damaged."""
    paths = RunPaths(root)
    try:
        text = paths.run.read_bytes()
        profile_text = paths.profile.read_bytes()
    except OSError as error:
        raise RunNotFoundError(f"{root} is no run directory: {error}") from error
    info = parse_run_info(text)
    if info is None:
        raise LaunchError(f"{paths.run} is damaged")
    try:
        request = from_plain(StartRequest, _start_part(text))
    except Mismatch as error:
        raise LaunchError(f"{paths.run} is damaged: {error}") from error
    try:
        profile = profile_from_json(profile_text)
    except ProfileError as error:
        lines = "; ".join(error.problems)
        raise LaunchError(f"{paths.profile} is damaged: {lines}") from error
    return StoredRun(paths, info, profile, request)


def _start_part(text: bytes) -> Any:
    return json.loads(text).get("start", {})


def write_planned(files: tuple[PlannedFile, ...]) -> None:
    """The plan's files of this machine."""
    for file in files:
        if not file.node:
            write_file(Path(file.path), file.content, file.mode)


def versions() -> Mapping[str, str]:
    """Versions of what a run's result depends on; what is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for package in ("effnet-tui", "mindspore", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
