"""Append-only files of fixed-size records, one writer each."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.process import private

MAX_PENDING_BYTES = 8 << 20


class RecordFile:
    """Appends whole records. On a full disk they are kept in memory; `trouble` is the reason."""

    def __init__(self, path: Path, record_bytes: int) -> None:
        self.trouble: OSError | None = None
        self._record_bytes = record_bytes
        self._pending = bytearray()
        private.make_folder(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, private.FILE_MODE)
        size = os.fstat(self._fd).st_size
        self._end = size - size % record_bytes

    def last(self) -> bytes | None:
        """The last whole record."""
        if self._end == 0:
            return None
        return os.pread(self._fd, self._record_bytes, self._end - self._record_bytes)

    def append(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > MAX_PENDING_BYTES:
            # The disk stays full: keep the newest records.
            surplus = len(self._pending) - MAX_PENDING_BYTES
            del self._pending[: surplus + -surplus % self._record_bytes]

    def flush(self) -> None:
        """Writes what is pending; never raises."""
        if not self._pending:
            return
        try:
            written = os.pwrite(self._fd, self._pending, self._end)
        except OSError as error:
            self.trouble = error
            return
        whole = written - written % self._record_bytes
        self._end += whole
        del self._pending[:whole]
        self.trouble = None

    def close(self) -> None:
        self.flush()
        os.close(self._fd)
