"""A compiled step in the user's cache: one file for each key, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from effnet import user_cache
from effnet.errors import EffnetError

LIMIT_BYTES = 128 << 20
LIMIT_FILES = 128
WAIT_S = 300.0
"""For how long a rank waits for another one that compiles the same step."""
_SUFFIX = ".graph"
_UNFINISHED = ".making-"
_DAY_S = 86400.0
_LOCKS = 16


class Damaged(EffnetError):
    """The file is not what was written."""


@dataclass(frozen=True)
class Kept:
    """What MindSpore wrote, by file name, and the digest of the probe (`probe.digest`)."""

    files: Mapping[str, bytes]
    probe: str


class Entry:
    """The place of one compiled step. Raises `NotKept` and `OSError` without a folder for it."""

    def __init__(self, key: str) -> None:
        self._folder = user_cache.folder("graphs")
        self._path = self._folder / f"{key}{_SUFFIX}"
        # A few files for all keys, so that none is left over: two keys that share one only wait.
        self._lock = self._folder / f"lock-{int(key[:8], 16) % _LOCKS}"

    def read(self) -> Kept | None:
        """`None` where there is none. Raises `Damaged` and `OSError`."""
        try:
            user_cache.require_own(self._path)
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        user_cache.note_use(self._path)
        return _unpacked(content)

    def write(self, kept: Kept) -> None:
        """Under another name first: a reader finds all of it or nothing. Raises `OSError`."""
        self._tidy()
        file, name = tempfile.mkstemp(dir=self._folder, prefix=_UNFINISHED)
        try:
            with open(file, "wb") as output:
                output.write(_packed(kept))
                output.flush()
                os.fsync(output.fileno())
            os.replace(name, self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Of no use: the next start compiles. Raises `OSError`."""
        self._path.unlink(missing_ok=True)

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """One rank at a time, until it ends or has taken `WAIT_S`."""
        return user_cache.locked(self._lock, WAIT_S)

    @contextlib.contextmanager
    def work_folder(self, again: Path | None = None) -> Iterator[Path]:
        """An empty folder on the same disk, removed afterwards. `again`: one that was removed."""
        if again is not None:
            again.mkdir(mode=0o700)
        made = again or Path(tempfile.mkdtemp(dir=self._folder, prefix=_UNFINISHED))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _tidy(self) -> None:
        """Removes what ranks that were killed left, and the least used files over the limits."""
        now_s = time.time()
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if now_s - path.stat().st_mtime > _DAY_S:
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink()
        steps = self._folder.glob(f"*{_SUFFIX}")
        user_cache.remove_least_used(steps, LIMIT_FILES - 1, LIMIT_BYTES)  # one is added


def _packed(kept: Kept) -> bytes:
    """The sha256 of the rest, a line that describes it, and the files one after the other."""
    sizes = {name: len(content) for name, content in kept.files.items()}
    line = json.dumps({"probe": kept.probe, "files": sizes}).encode()
    rest = b"\n".join((line, b"".join(kept.files.values())))
    return _digest(rest) + b"\n" + rest


def _unpacked(content: bytes) -> Kept:
    digest, _, rest = content.partition(b"\n")
    if digest != _digest(rest):
        raise Damaged("its checksum is wrong")
    line, _, joined = rest.partition(b"\n")
    said = json.loads(line)
    files, start = {}, 0
    for name, size in said["files"].items():
        files[name] = joined[start : start + size]
        start += size
    return Kept(files, said["probe"])


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
