"""Shared memory segments of System V and /dev/shm: which are ours, and their removal.

A segment outlives killed processes. It is ours when it belongs to our user, and was mapped by one
of our processes and made after our ranks began, or was created by our rank's pid (System V keeps
that). Files in folders of /dev/shm are never ours: people keep data there. A segment that a process
has mapped or open is never removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

SHM = "/dev/shm/"
SYSV = b"/SYSV"
TABLE = "/proc/sysvipc/shm"
IPC_RMID = 0


@dataclass(frozen=True)
class Segment:
    """`path` is empty for System V, whose `number` is its shmid; else `number` is the inode.

    `made`: its ctime, Unix seconds, because numbers are reused; 0: any. That of a file is when it
    was last written with `write` or resized, not when its memory was written.
    """

    path: str
    number: int
    size_bytes: int = 0
    made: int = 0

    @property
    def words(self) -> str:
        return self.path or f"System V segment {self.number}"


@dataclass(frozen=True)
class Creator:
    """A process of ours that may have made segments. `started`: Unix seconds."""

    pid: int
    started: float


def mapped_by(pids: Iterable[int]) -> set[Segment]:
    """All segments that these processes have mapped now."""
    found: set[Segment] = set()
    table: dict[int, Segment] | None = None
    for pid in pids:
        for number, path in _mappings(pid):
            if path:
                with contextlib.suppress(OSError):
                    found.add(Segment(path, number, made=int(os.stat(path).st_ctime)))
                continue
            table = {s.number: s for s, _, _ in _table()} if table is None else table
            if number in table:
                found.add(table[number])
    return found


def made_by(creators: Collection[Creator]) -> set[Segment]:
    """System V segments that these processes created."""
    started = {creator.pid: creator.started for creator in creators}
    return {
        segment
        for segment, creator, _ in _table()
        if creator in started and segment.made >= int(started[creator]) - 1
    }


def left_over(segments: Iterable[Segment]) -> list[Segment]:
    """Those of our user that still exist and that no process uses."""
    table = {segment.number: (segment, uses) for segment, _, uses in _table()}
    files: list[Segment] = []
    found: list[Segment] = []
    for segment in segments:
        if segment.path:
            files += _same_file(segment)
            continue
        there, uses = table.get(segment.number, (None, 0))
        if there is not None and uses == 0 and segment.made in (0, there.made):
            found.append(there)
    used = _open_inodes() if files else set()
    found += [segment for segment in files if segment.number not in used]
    return sorted(found, key=lambda segment: (segment.path, segment.number))


def remove(segment: Segment) -> bool:
    """-> whether it was removed."""
    if segment.path:
        with contextlib.suppress(OSError):
            os.unlink(segment.path)
        return not os.path.lexists(segment.path)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.shmctl(segment.number, IPC_RMID, None) == 0)


def _mappings(pid: int) -> list[tuple[int, str]]:
    """(inode, path) of files of /dev/shm, (shmid, "") of System V segments."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            data = file.read()
    except OSError:
        return []
    if SYSV not in data and SHM.encode() not in data:
        return []
    found = []
    for line in data.splitlines():
        # address perms offset device inode path; an unlinked file disappears without us.
        parts = line.split(None, 5)
        if len(parts) < 6:
            continue
        path = parts[5]
        if path.startswith(SYSV):
            found.append((int(parts[4]), ""))
        elif _is_segment(path):
            found.append((int(parts[4]), os.fsdecode(path)))
    return found


def _is_segment(path: bytes) -> bool:
    name = path.removeprefix(SHM.encode())
    return name != path and b"/" not in name and not name.endswith(b" (deleted)")


def _table() -> list[tuple[Segment, int, int]]:
    """(segment, creator's pid, count of uses) of our user's System V segments."""
    try:
        with open(TABLE, encoding="ascii") as file:
            names = file.readline().split()
            rows = [dict(zip(names, map(int, line.split()), strict=False)) for line in file]
    except (OSError, ValueError):
        return []
    return [
        (Segment("", row["shmid"], row["size"], row["ctime"]), row["cpid"], row["nattch"])
        for row in rows
        if row.get("uid") == os.getuid()
    ]


def _same_file(segment: Segment) -> list[Segment]:
    try:
        status = os.lstat(segment.path)
    except OSError:
        return []
    if status.st_ino != segment.number or status.st_uid != os.getuid():
        return []
    return [Segment(segment.path, segment.number, status.st_size, int(status.st_ctime))]


def _open_inodes() -> set[int]:
    """Inodes of /dev/shm that a process has mapped or open, as far as we may read that."""
    found: set[int] = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        found |= {number for number, path in _mappings(int(name)) if path}
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{name}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path).startswith(SHM):
                        found.add(os.stat(entry.path).st_ino)
    return found
