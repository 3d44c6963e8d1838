"""Folders in the user's cache for what is slow to make, and what such files depend on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import platformdirs

from effnet.errors import EffnetError

_POLL_S = 0.02


class NotKept(EffnetError):
    """Nothing can be kept in the user's cache: the message is the reason."""

    kind = "config"


def folder(name: str) -> Path:
    """A folder that only this user can write; it is made if need be.

    Raises `NotKept`, and `OSError` where it cannot be made.
    """
    found = platformdirs.user_cache_path("effnet-tui", appauthor=False) / name
    if not found.is_absolute():
        raise NotKept("this user has no home folder", hint="set XDG_CACHE_HOME to a folder")
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own(found)
    return found


def require_own(path: Path) -> None:
    """Code is only loaded from what nobody else can write. Raises `NotKept`."""
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotKept(f"{path} belongs to, or can be written by, another user", hint="delete it")


def note_use(path: Path) -> None:
    """Sets the time of access, also where the file system would not, and no other time."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def remove_least_used(
    paths: Iterable[Path], limit_files: int, limit_bytes: int, unused_s: float = 0.0
) -> None:
    """Leaves at most so many files and bytes, and all that were used within `unused_s`.

    What a process has open or mapped stays usable there.
    """
    found, total = [], 0
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_atime, status.st_size, path))
    for count, (used_s, size, path) in enumerate(sorted(found, reverse=True), 1):
        total += size
        if (count > limit_files or total > limit_bytes) and time.time() - used_s >= unused_s:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def locked(path: Path, limit_s: float | None = None) -> Iterator[None]:
    """One process at a time; a lock ends with the process that holds it.

    The block also runs where the file system has no locks, as some network file systems, and when
    another process holds the lock for longer than `limit_s`.
    """
    with open(path, "w") as file:
        with contextlib.suppress(OSError):
            _lock(file, limit_s)
        yield


def _lock(file: IO[str], limit_s: float | None) -> None:
    if limit_s is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    end_s = time.monotonic() + limit_s
    while not _is_locked(file) and time.monotonic() < end_s:
        time.sleep(_POLL_S)


def _is_locked(file: IO[str]) -> bool:
    """Whether this process has the lock now. Raises `OSError` where there are none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cpu() -> str:
    """Model and instructions of the first core, as `-march=native` sees them."""
    names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    with open("/proc/cpuinfo") as file:
        first = file.read().split("\n\n")[0].splitlines()
    return "\n".join(line for line in first if line.split("\t")[0].strip() in names)


def c_library() -> str:
    """Its version: what a newer one built cannot be loaded in an older container on this home."""
    name = "CS_GNU_LIBC_VERSION"
    return (os.confstr(name) or "") if name in os.confstr_names else ""
