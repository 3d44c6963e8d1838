"""Shared memory segments, System V's and those of /dev/shm: whose they are, and their end.

A segment outlives its processes when these are killed. It is ours when one of our processes was
seen to have it mapped and it was made after our ranks began, or when our rank's pid created it
(System V keeps that), and when it belongs to our user. Files in folders of /dev/shm are never ours:
somebody may keep his data there. Only what nobody has mapped or open any more is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

SHM = "/dev/shm/"
SYSV = b"/SYSV"
TABLE = "/proc/sysvipc/shm"
IPC_RMID = 0


@dataclass(frozen=True)
class Segment:
    """`path` is empty for System V, whose `number` is its shmid; else `number` is the inode.

    `made`: its ctime, Unix seconds, against a number that is used again; 0 is any. A file's is
    when it was last written to with `write`, or changed in length: not when memory was written.
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
    """A process of ours that may have made segments; it started then, Unix seconds."""

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
    """System V segments that were created by these processes, and not before they began."""
    started = {creator.pid: creator.started for creator in creators}
    return {
        segment
        for segment, creator, _ in _table()
        if creator in started and segment.made >= int(started[creator]) - 1
    }


def left_over(segments: Iterable[Segment]) -> list[Segment]:
    """Those that are still there, are our user's, and that nobody uses."""
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
    """-> whether it is gone."""
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
        # address perms offset device inode path; what was unlinked already ends by itself.
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
    """Inodes of /dev/shm that any process whom we may look at has mapped or open."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            found |= {number for number, path in _mappings(int(name)) if path}
            found |= _opened(f"/proc/{name}/fd", lambda path: path.startswith(SHM))
    return found


def _opened(folder: str, is_wanted: Callable[[str], bool]) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if is_wanted(os.readlink(entry.path)):
                    found.add(os.stat(entry.path).st_ino)
    return found
