"""Writes reports, bundles and exports. No file but an older one of them is replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.errors import LaunchError, ProfileError, UsageError
from launcher.reading.growing import read_range
from launcher.reading.run import RunReader
from launcher.report import bundle, page
from launcher.store.atomic import write_file

if TYPE_CHECKING:
    from launcher.report.openmetrics import RunMetrics

MAX_PROFILE_BYTES = 1 << 24

OnProgress = Callable[[str, int, int], None]


def write_report(reader: RunReader, path: Path, is_anonymous: bool) -> None:
    """Raises `UsageError`, `LaunchError`."""
    head = page.MARK.encode()
    if path.exists() and read_range(path, 0, len(head)) != head:
        raise UsageError(f"{path} exists and is no report", "Choose another --output.")
    text = page.report(reader, _profile(reader), is_anonymous=is_anonymous)
    try:
        write_file(path, text)
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error}") from error


def write_bundle(reader: RunReader, path: Path, is_anonymous: bool) -> None:
    """Raises `UsageError`, `LaunchError`."""
    if path.exists():
        raise UsageError(f"{path} exists", "Choose another --output.")
    try:
        bundle.write_bundle(reader, _profile(reader), path, is_anonymous=is_anonymous)
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error}") from error


def write_event_files(reader: RunReader, folder: Path, every: int, on_progress: OnProgress) -> int:
    """-> bytes of records that were added. Raises `UsageError`, `LaunchError`."""
    with _extra("tensorboard"):
        from launcher.report import tensorboard
    try:
        return tensorboard.write_event_files(reader, folder, every, on_progress)
    except OSError as error:
        raise LaunchError(f"{folder} cannot be written: {error}") from error


def metrics_of(reader: RunReader) -> RunMetrics:
    """Raises `LaunchError`."""
    with _extra("metrics"):
        from launcher.report.openmetrics import RunMetrics
    return RunMetrics(reader)


@contextlib.contextmanager
def _extra(name: str) -> Iterator[None]:
    """Raises `LaunchError` when what it installs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("launcher"):
            raise
        raise LaunchError(
            f"{error.name} is not installed",
            f"pip install -e '.[{name}]' in effnet-tui's clone",
        ) from error


def _profile(reader: RunReader) -> Profile | None:
    """None where it cannot be read: the report is then without it."""
    with contextlib.suppress(ProfileError):
        return profile_from_json(read_range(reader.paths.profile, 0, MAX_PROFILE_BYTES))
    return None
