"""Writes reports and bundles. A file that is not an older one of them is never replaced."""

from __future__ import annotations

import contextlib
from pathlib import Path

from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.errors import LaunchError, ProfileError, UsageError
from launcher.reading.growing import read_range
from launcher.reading.run import RunReader
from launcher.report import bundle, page
from launcher.store.atomic import write_file

MAX_PROFILE_BYTES = 1 << 24


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


def _profile(reader: RunReader) -> Profile | None:
    """None where it cannot be read: the report is then without it."""
    with contextlib.suppress(ProfileError):
        return profile_from_json(read_range(reader.paths.profile, 0, MAX_PROFILE_BYTES))
    return None
