"""Files that are written aside, verified and renamed: a reader sees the old or the new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LaunchError
from launcher.process import private

BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Content:
    """What a file holds: its length and its sha256."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Digest:
    """The content that a file had when its inode and its time of change were these."""

    path: str
    inode: int
    modified_ns: int
    content: Content


MOST_DIGESTS = 64
_digests: dict[str, Digest] = {}
_lock = threading.Lock()


def is_there(path: Path) -> bool:
    """Whether another machine has put a file into a folder that both share.

    A lookup alone may be answered by what NFS knew up to a minute ago; to open the folder asks the
    server.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return path.exists()


def content_of(path: Path) -> Content | None:
    """None when there is no such file, or it cannot be read to its end.

    A file that has not changed is read once: a checkpoint is verified to be shown, to be resumed
    from and to be copied. `digests` are what another process on this machine has to know for that.
    """
    try:
        file = path.stat()
        found = _digests.get(str(path))
        if found is None or (found.inode, found.modified_ns) != (file.st_ino, file.st_mtime_ns):
            content = _read(path)
            remember([Digest(str(path), file.st_ino, file.st_mtime_ns, content)])
            return content
    except OSError:
        return None
    return found.content


def digests() -> tuple[Digest, ...]:
    """Of the files that were read, or that `remember` was told."""
    with _lock:
        return tuple(_digests.values())


def remember(digests: Iterable[Digest]) -> None:
    """Those files are not read again as long as they are the same."""
    with _lock:  # checkpoints are also verified in threads
        for digest in digests:
            _digests.pop(digest.path, None)
            _digests[digest.path] = digest
        while len(_digests) > MOST_DIGESTS:
            _digests.pop(next(iter(_digests)))


def _read(path: Path) -> Content:
    digest, size = hashlib.sha256(), 0
    for block in blocks_of(path):
        digest.update(block)
        size += len(block)
    return Content(size, digest.hexdigest())


def blocks_of(path: Path) -> Iterator[bytes]:
    """Raises `OSError`."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def write_whole(path: Path, content: Content, blocks: Iterable[bytes]) -> None:
    """Replaces a file by `blocks`.

    Raises `LaunchError` when they are not `content`, and `OSError`; then nothing is changed.
    """
    digest, size = hashlib.sha256(), 0
    with _replacing(path) as aside, open(_private(aside), "wb", buffering=0) as file:
        for block in blocks:
            view = memoryview(block)
            while view:
                view = view[file.write(view) or 0 :]
            digest.update(block)
            size += len(block)
        os.fsync(file.fileno())
        if Content(size, digest.hexdigest()) != content:
            why = "its sha256 differs"
            if size != content.size_bytes:
                why = f"{size} of {content.size_bytes} bytes arrived"
            raise LaunchError(
                f"{path} did not arrive as it was sent: {why}",
                "Try again. If it happens again, check the disks and network cards.",
            )


def write_file(path: Path, text: str, mode: int = private.FILE_MODE) -> None:
    """Replaces a file; it is on disk when this returns. Raises `OSError`."""
    with _replacing(path) as aside, open(_private(aside, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _private(path: Path, mode: int = private.FILE_MODE) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write, which then replaces `path`."""
    private.make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
