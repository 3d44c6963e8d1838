"""A disk that takes its time: FUSE over a folder, read-only: FOLDER MOUNT_POINT SECONDS."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from fuse import FUSE, Operations


class SlowDisk(Operations):  # type: ignore[misc]
    """Each read comes so many seconds late."""

    def __init__(self, folder: Path, delay_s: float) -> None:
        self._folder, self._delay_s = folder, delay_s

    def _path(self, path: str) -> Path:
        return self._folder / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._path(path))
        names = ("st_mode", "st_size", "st_nlink", "st_uid", "st_gid", "st_mtime", "st_atime")
        return {name: getattr(found, name) for name in names}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._path(path))]

    def open(self, path: str, flags: int) -> int:
        return os.open(self._path(path), os.O_RDONLY)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        time.sleep(self._delay_s)
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


if __name__ == "__main__":
    FUSE(SlowDisk(Path(sys.argv[1]), float(sys.argv[3])), sys.argv[2], foreground=True, ro=True)
