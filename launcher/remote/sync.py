"""Files of a run directory, copied from a node as they grow, so that clients read one directory.

The node's side (`FileSource`) sends what is new as `file` messages; this side (`FileCopy`) writes
it. Files that grow are appended to: their size here is the offset at which copying continues, also
in another process. All other files are rewritten when they change.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from launcher.core.plan.model import Plan
from launcher.core.run.paths import AttemptPaths, node_journal
from launcher.errors import NodeError
from launcher.ipc.operations import CopyRequest, Known, Message
from launcher.process import private
from launcher.reading.growing import data_offset

CHUNK_BYTES = 256 << 10
EVENTS = "events.jsonl"
HEARTBEAT = "heartbeat"
OF_RANK = ("log.txt", "metrics.bin", "device.bin", "load.bin", "stacks.log")
GROWING = (".log", ".jsonl", ".bin", "log.txt")
NOT_COPIED = frozenset(
    {
        "checkpoint",
        "copies",
        "follower.log",
        "home.json",
        "link.json",
        "stop",
        "supervisor.json",
        "supervisor.lock",
    }
)
"""Names in a run directory that belong to one machine."""
NOT_COPIED_OF_JOBS = frozenset({"checkpoint", "model"})


def is_growing(name: str) -> bool:
    return name.endswith(GROWING)


def is_copied(name: str) -> bool:
    """Whether a file of this name in a run directory may be copied."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(part.startswith(".") for part in parts):
        return False
    if parts[0] in NOT_COPIED or (parts[0] == "jobs" and NOT_COPIED_OF_JOBS & set(parts[2:3])):
        return False
    # The sockets of that machine's agents.
    return not (len(parts) > 1 and parts[-2] == "agents" and name.endswith(".json"))


def names_below(root: Path) -> Iterator[str]:
    """Files of a run directory that are copied, always in the same order."""
    for folder, folders, files in os.walk(root):
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else f"{below}/"
        folders[:] = sorted(name for name in folders if is_copied(prefix + name))
        yield from (prefix + name for name in sorted(files) if is_copied(prefix + name))


def names_of(plan: Plan) -> tuple[str, ...]:
    """What is copied of a node: files of its ranks, logs of its helpers, its agent's journal."""
    names = []
    for process in plan.processes:
        if process.rank is None:
            names.append(os.path.basename(process.log))
            continue
        folder = f"ranks/{process.rank:04d}"
        names += [f"{folder}/{file}" for file in OF_RANK]
        names.append(f"{folder}/{HEARTBEAT}")
    if any(process.is_forked for process in plan.ranks):
        names.append(AttemptPaths(Path()).fork_log(plan.node.name).name)
    journal = node_journal(Path(), plan.node.name)
    return (*names, str(journal), str(journal.with_suffix(".log")))


class FileSource:
    """On the node: reads what is new below `root`. Without `names`, of the whole run directory."""

    def __init__(self, root: Path, known: Known, names: tuple[str, ...] | None = None) -> None:
        self._root = root
        self._known = dict(known)
        self._names = names
        self._heartbeats: dict[str, bytes] = {}
        self.is_behind = True
        """Whether the last `read` left data for the next one."""

    @classmethod
    def of_request(cls, root: Path, request: CopyRequest) -> FileSource:
        """What `FileCopy.request` asks for; nothing of a folder that both machines share."""
        known: Known = {} if (root / request.witness).exists() else request.known
        return cls(root, known, tuple(known))

    def read(self) -> Iterator[Message]:
        """One round: at most a chunk of each file that grows.

        Events come last, up to their length at the beginning of the round: when an event arrives,
        the files that were written before it are there.
        """
        self.is_behind = False
        events_end = _size(self._root / EVENTS)
        for name in names_below(self._root) if self._names is None else self._names:
            if name != EVENTS:
                yield from self._read(name, None)
        yield from self._read(EVENTS, events_end)

    def _read(self, name: str, end: int | None) -> Iterator[Message]:
        with contextlib.suppress(OSError):
            fd = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from self._grown(fd, name, end) if is_growing(name) else self._new(fd, name)
            finally:
                os.close(fd)

    def _grown(self, fd: int, name: str, end: int | None) -> Iterator[Message]:
        offset = self._known.get(name, (0, 0))[0]
        start = data_offset(fd, offset)
        limit = CHUNK_BYTES if end is None else min(CHUNK_BYTES, max(0, end - start))
        data = os.pread(fd, limit, start)
        self.is_behind = self.is_behind or len(data) == CHUNK_BYTES
        if data or start > offset or name not in self._known:
            self._known[name] = (start + len(data), 0)
            yield {"type": "file", "name": name, "offset": offset, "start": start, "data": data}

    def _new(self, fd: int, name: str) -> Iterator[Message]:
        """A file that was replaced by renaming stays as it was while it is open."""
        status = os.fstat(fd)
        mark = (status.st_size, status.st_mtime_ns)
        if name.endswith(HEARTBEAT):
            # Rewritten in place, maybe twice within one tick of the file system's clock.
            data = os.pread(fd, CHUNK_BYTES, 0)
            if data == self._heartbeats.get(name, b""):
                return
            self._heartbeats[name] = data
        elif mark == self._known.get(name):
            return
        position, is_last = 0, False
        while not is_last:
            data = os.pread(fd, CHUNK_BYTES, position)
            is_last = len(data) < CHUNK_BYTES
            part: Message = {"type": "file", "name": name, "part": position, "data": data}
            yield {**part, "changed_ns": mark[1]} if is_last else part
            position += len(data)
        self._known[name] = mark


class FileCopy:
    """On this machine: writes below `root` what `node` sends. Not thread-safe.

    Without `names`, the whole run directory. `translate`: files that are changed on their way.
    """

    def __init__(
        self,
        node: str,
        root: Path,
        names: tuple[str, ...] | None = None,
        translate: Mapping[str, Callable[[bytes], bytes]] | None = None,
    ) -> None:
        self._node = node
        self._root = root
        self._names = names
        self._translate = translate or {}

    def known(self) -> Known:
        """What this side has already."""
        found = dict.fromkeys(self._names or (), (0, 0))
        for name in names_below(self._root) if self._names is None else self._names:
            with contextlib.suppress(OSError):
                status = os.stat(self._root / name)
                found[name] = (status.st_size, 0 if is_growing(name) else status.st_mtime_ns)
        return found

    @contextlib.contextmanager
    def request(self) -> Iterator[CopyRequest]:
        """For `FileSource.of_request`, which has to answer before the block ends."""
        # The node sees this file only when it shares the folder: then nothing may be copied.
        witness = self._root / f".witness-{secrets.token_hex(8)}"
        private.make_folder(self._root)
        witness.touch(private.FILE_MODE)
        try:
            yield CopyRequest(self.known(), witness.name)
        finally:
            witness.unlink(missing_ok=True)

    def write_chunk(self, message: Message) -> None:
        """Writes one `file` message. After `NodeError`, copying starts again from `known`."""
        name, data = message.get("name"), message.get("data")
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise NodeError(self._node, "it sent a damaged file message")
        is_ours = is_copied(name) if self._names is None else name in self._names
        if not is_ours or ".." in PurePosixPath(name).parts:
            return  # a node may write no other files here
        path = self._root / name
        try:
            if "part" in message:
                self._write_part(path, name, message, data)
            else:
                self._append(path, message, data)
        except (OSError, ValueError) as error:
            raise NodeError(self._node, f"{path} cannot be written: {error}") from error

    def _append(self, path: Path, message: Message, data: bytes) -> None:
        offset, start = _number(message, "offset"), _number(message, "start")
        with _opened(path) as fd:
            if os.fstat(fd).st_size != offset:
                raise OSError(f"the data starts at {offset}, the file ends elsewhere")
            if start > offset:
                os.ftruncate(fd, start)  # a hole, where the log's limit dropped lines there
            _write(fd, data, start)

    def _write_part(self, path: Path, name: str, message: Message, data: bytes) -> None:
        position, is_last = _number(message, "part"), "changed_ns" in message
        if name.endswith(HEARTBEAT) and not position:
            with _opened(path) as fd:
                _write(fd, data, 0)
            return
        aside = path.with_name(f".{path.name}.part")
        if position != (_size(aside) if position else 0):
            raise OSError(f"the data starts at {position}, the file ends elsewhere")
        with _opened(aside, 0 if position else os.O_TRUNC) as fd:
            _write(fd, data, position)
        if is_last:
            if name in self._translate:
                aside.write_bytes(self._translate[name](aside.read_bytes()))
            changed_ns = _number(message, "changed_ns")
            os.utime(aside, ns=(changed_ns, changed_ns))
            os.replace(aside, path)


def _number(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{key} is {value!r:.40}")
    return value


@contextlib.contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    flags |= os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, private.FILE_MODE)
    except FileNotFoundError:
        private.make_folder(path.parent)
        fd = os.open(path, flags, private.FILE_MODE)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(fd, data, position)
        data, position = data[written:], position + written


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
