"""Files of a node's attempt, copied as they grow, so that clients read one run directory.

The node's side (`Source`) sends what is new as `{"type": "file"}` messages in the channel that all
else goes through; this side (`Copy`) appends it. Files grow only at their end, so a file's size
here is the offset to go on from, whoever copied before.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.core.plan.orders import NodeOrder
from launcher.core.run.paths import node_journal
from launcher.ipc.channel import Message
from launcher.process.log import log_line
from launcher.reading.growing import data_offset

CHUNK_BYTES = 256 << 10
WHOLE_FILE_BYTES = 1 << 12


@dataclass(frozen=True)
class Files:
    """Names below an attempt's folder: those that grow, and small ones that are rewritten."""

    growing: tuple[str, ...]
    rewritten: tuple[str, ...]


def files_of(order: NodeOrder) -> Files:
    """What is copied of a node: its ranks' files, its helpers' logs, its agent's journal."""
    growing, rewritten = [], []
    for process in order.processes:
        if process.rank is None:
            growing.append(os.path.basename(process.log))
            continue
        folder = f"ranks/{process.rank:04d}"
        growing += [f"{folder}/{name}" for name in ("log.txt", "metrics.bin", "device.bin")]
        rewritten.append(f"{folder}/heartbeat")
    journal = node_journal(Path(), order.node)
    growing += [str(journal), str(journal.with_suffix(".log"))]
    return Files(tuple(growing), tuple(rewritten))


class Source:
    """On the node: reads what is new below `root`. `offsets` is what the other side has."""

    def __init__(self, root: Path, offsets: Mapping[str, int], rewritten: Iterable[str]) -> None:
        self._root = root
        self._offsets = dict(offsets)
        self._rewritten: dict[str, bytes] = dict.fromkeys(rewritten, b"")

    def read(self) -> list[Message]:
        """At most one chunk of each file; empty when nothing is new."""
        found: list[Message] = []
        for name, offset in self._offsets.items():
            start, data = _read_grown(self._root / name, offset)
            if data or start > offset:
                found.append(_message(name, data, offset, start))
                self._offsets[name] = start + len(data)
        for name, known in self._rewritten.items():
            data = _read(self._root / name, 0, WHOLE_FILE_BYTES)
            if data and data != known:
                found.append(_message(name, data, None))
                self._rewritten[name] = data
        return found


class Copy:
    """Here: writes below `root`. One thread may use it."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root = root
        self._files = files
        self._is_troubled = False

    def request(self) -> Message:
        """What the node's side needs to go on where the files here end."""
        offsets = {name: _size(self._root / name) for name in self._files.growing}
        return {"offsets": offsets, "rewritten": list(self._files.rewritten)}

    def take(self, message: Message) -> bool:
        """Writes one piece. -> False when it does not fit: the copying must begin again."""
        name, offset = str(message.get("name")), message.get("offset")
        if name not in self._files.growing and name not in self._files.rewritten:
            return True  # a node may write nothing else here
        path = self._root / name
        try:
            data = base64.b64decode(str(message.get("data")))
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if offset is not None:
                    if os.fstat(fd).st_size != offset:
                        return False
                    # What was dropped there before it was copied is a hole here, too.
                    offset = int(message.get("pad") or offset)
                    pad_to(fd, offset)
                while data:
                    written = os.pwrite(fd, data, offset or 0)
                    data, offset = data[written:], (offset or 0) + written
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            if not self._is_troubled:
                log_line(f"{path} cannot be written: {error}")
            self._is_troubled = True
            return False
        self._is_troubled = False
        return True


def pad_to(fd: int, size_bytes: int) -> None:
    """Makes a file longer by a hole. Raises `OSError`."""
    if os.fstat(fd).st_size < size_bytes:
        os.ftruncate(fd, size_bytes)


def _message(name: str, data: bytes, offset: int | None, pad: int | None = None) -> Message:
    text = base64.b64encode(data).decode("ascii")
    message: Message = {"type": "file", "name": name, "offset": offset, "data": text}
    return message if pad in (None, offset) else {**message, "pad": pad}


def _read_grown(path: Path, offset: int) -> tuple[int, bytes]:
    """Where data goes on, and some of it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return offset, b""
    try:
        start = data_offset(fd, offset)
        return start, os.pread(fd, CHUNK_BYTES, start)
    except OSError:
        return offset, b""
    finally:
        os.close(fd)


def _read(path: Path, offset: int, limit: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, limit, offset)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
