"""Which processes of this machine write to a log: by the files that they have open.

A rank of another launcher is known by nothing else. Its name and its arguments are not looked at.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

from launcher.process import ownership

NETWORK = (
    "nfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb",
    "9p",
    "fuse.",
    "afs",
    "gluster",
)
"""File systems that another machine may write to."""


def writers(paths: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Path -> pids that have it open for writing, of the processes that this user may look at."""
    wanted: dict[tuple[int, int], str] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            wanted[(status.st_dev, status.st_ino)] = path
    found: dict[str, list[int]] = {}
    own = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        for path in _written_by(int(name), wanted):
            found.setdefault(path, []).append(int(name))
    return {path: tuple(sorted(pids)) for path, pids in found.items()}


def _written_by(pid: int, wanted: dict[tuple[int, int], str]) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                path = wanted.get((status.st_dev, status.st_ino))
                if path is not None and _is_writable(pid, fd):
                    found.add(path)
    return found


def _is_writable(pid: int, fd: str) -> bool:
    """By the link's own mode: a viewer (``tail -f``) has it open only for reading."""
    return bool(os.lstat(f"/proc/{pid}/fd/{fd}").st_mode & 0o200)


def state_of(pid: int) -> str:
    """Its letter in proc(5); empty when it is gone, a zombie, or not known (0)."""
    process = ownership.read_process(pid) if pid else None
    return process.state if process is not None and process.is_alive else ""


def sees_writers(path: str) -> bool:
    """Whether a process that writes to the file would be found here: the file is on a disk of this
    machine, and this user may look at its owner's processes."""
    try:
        owner = os.stat(path).st_uid
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    if os.geteuid() not in (0, owner):
        return False
    best, kind = "", ""
    real = os.path.realpath(path)
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split()[4].replace("\\040", " ")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return not kind.startswith(NETWORK)
