"""A whole run directory, copied as it grows: for runs whose supervisor is on another machine.

As `launcher.remote.sync`, but nobody knows beforehand which files there will be. Files that grow
are copied from their own size on; all others are rewritten as a whole when they change. What lies
only there: checkpoints, sockets, locks, copies that jobs needed.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from launcher.ipc.channel import Message
from launcher.reading.growing import data_offset
from launcher.remote.sync import CHUNK_BYTES, pad_to

EVENTS = "events.jsonl"
GROWING = (".log", ".jsonl", ".bin")
TOP_LEFT_OUT = frozenset(
    {
        "checkpoint",
        "follower.log",
        "home.json",
        "link.json",
        "stop",
        "supervisor.json",
        "supervisor.lock",
    }
)
JOB_LEFT_OUT = frozenset({"checkpoint", "model"})


def is_growing(name: str) -> bool:
    return name.endswith(GROWING) or name.rpartition("/")[2] == "log.txt"


def is_copied(name: str) -> bool:
    """Whether a file of this name, below the run directory, may be copied."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(part.startswith(".") for part in parts):
        return False
    if parts[0] in TOP_LEFT_OUT or (parts[0] == "jobs" and JOB_LEFT_OUT & set(parts[2:3])):
        return False
    # Who listens where, on that machine.
    return not (len(parts) > 1 and parts[-2] == "agents" and name.endswith(".json"))


def names_below(root: Path) -> Iterator[str]:
    """Files that are copied, in an order that is always the same."""
    for folder, folders, files in os.walk(root):
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else f"{below}/"
        folders[:] = sorted(name for name in folders if is_copied(prefix + name))
        yield from (prefix + name for name in sorted(files) if is_copied(prefix + name))


def known_below(root: Path) -> dict[str, list[int]]:
    """What is here already: name -> its length, and its time of change (0: it grows)."""
    found = {}
    for name in names_below(root):
        with contextlib.suppress(OSError):
            status = os.stat(root / name)
            found[name] = [status.st_size, 0 if is_growing(name) else status.st_mtime_ns]
    return found


class TreeSource:
    """There: reads what is new below `root`; `known` is what the other side has."""

    def __init__(self, root: Path, known: Mapping[str, list[int]]) -> None:
        self._root = root
        self._known = {name: list(value) for name, value in known.items()}
        self.is_behind = True
        """Whether more was there than the last round could take."""

    def read(self) -> Iterator[Message]:
        """One round: at most a chunk of each file that grows; nothing when nothing is new.

        Events come last, and no further than they went at the beginning: whoever reads an event
        finds the files that were written before it.
        """
        self.is_behind = False
        events_end = _size(self._root / EVENTS)
        for name in names_below(self._root):
            if name == EVENTS:
                continue
            yield from self._grown(name, None) if is_growing(name) else self._changed(name)
        yield from self._grown(EVENTS, events_end)

    def _grown(self, name: str, end: int | None) -> Iterator[Message]:
        path, offset = self._root / name, self._known.get(name, [0, 0])[0]
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            start = data_offset(fd, offset)
            limit = CHUNK_BYTES if end is None else min(CHUNK_BYTES, max(0, end - start))
            data = os.pread(fd, limit, start)
        except OSError:
            return
        finally:
            os.close(fd)
        self.is_behind = self.is_behind or len(data) == CHUNK_BYTES
        if data or start > offset or name not in self._known:
            self._known[name] = [start + len(data), 0]
            yield {
                "type": "file",
                "name": name,
                "offset": offset,
                "pad": start,
                "data": _text(data),
            }

    def _changed(self, name: str) -> Iterator[Message]:
        """Files are replaced by renaming, so one that is open stays as it was."""
        try:
            fd = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            status = os.fstat(fd)
            if [status.st_size, status.st_mtime_ns] == self._known.get(name):
                return
            position, is_last = 0, False
            while not is_last:
                data = os.pread(fd, CHUNK_BYTES, position)
                is_last = len(data) < CHUNK_BYTES
                message: Message = {"type": "file", "name": name, "part": position}
                if is_last:
                    message["changed_ns"] = status.st_mtime_ns
                yield {**message, "data": _text(data)}
                position += len(data)
            self._known[name] = [status.st_size, status.st_mtime_ns]
        except OSError:
            return
        finally:
            os.close(fd)


class TreeCopy:
    """Here: writes below `root`. `translate`: names of files that are changed on their way."""

    def __init__(self, root: Path, translate: Mapping[str, Callable[[bytes], bytes]]) -> None:
        self._root = root
        self._translate = translate

    def known(self) -> dict[str, list[int]]:
        return known_below(self._root)

    def take(self, message: Message) -> bool:
        """Writes one piece. -> False when it does not fit: the copying must begin again.

        Raises `OSError`.
        """
        name, data = str(message.get("name")), base64.b64decode(str(message.get("data")))
        if not is_copied(name) or ".." in PurePosixPath(name).parts:
            return True  # nothing else is written here, whatever comes
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "part" in message:
            return self._take_part(path, name, message, data)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            offset, pad = int(message["offset"]), int(message["pad"])
            if os.fstat(fd).st_size != offset:
                return False
            pad_to(fd, pad)
            _write(fd, data, pad)
        finally:
            os.close(fd)
        return True

    def _take_part(self, path: Path, name: str, message: Message, data: bytes) -> bool:
        aside = path.with_name(f".{path.name}.part")
        position = int(message["part"])
        if position != (_size(aside) if position else 0):
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if position else os.O_TRUNC)
        fd = os.open(aside, flags, 0o644)
        try:
            _write(fd, data, position)
        finally:
            os.close(fd)
        if "changed_ns" in message:
            if name in self._translate:
                aside.write_bytes(self._translate[name](aside.read_bytes()))
            changed_ns = int(message["changed_ns"])
            os.utime(aside, ns=(changed_ns, changed_ns))
            os.replace(aside, path)
        return True


def _write(fd: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(fd, data, position)
        data, position = data[written:], position + written


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
