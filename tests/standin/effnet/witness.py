"""What this process says, kept a second time where the launcher never looks.

STANDIN_WITNESS is a folder: every byte for the log is first written to
FOLDER/RUN/ATTEMPT-RANK there. A test holds the launcher's copies to it. Both writes are plain
write(2), so only a process that is killed in between leaves one piece here that its log lacks.
"""

import io
import os
import sys
from pathlib import Path


class Witnessed(io.TextIOBase):
    """A stream of text that passes on whole lines, and what was flushed."""

    def __init__(self, fd, witness_fd):
        self._fd = fd
        self._witness_fd = witness_fd
        self._part = ""

    def writable(self):
        return True

    def write(self, text):
        head, newline, tail = text.rpartition("\n")
        if newline:
            put((self._part + head + newline).encode("utf-8", "replace"), self)
            self._part = tail
        else:
            self._part += text
        return len(text)

    def flush(self):
        part, self._part = self._part, ""
        put(part.encode("utf-8", "replace"), self)

    def raw(self, data):
        self.note(data)
        write(self._fd, data)

    def note(self, data):
        """Only here, not in the log."""
        write(self._witness_fd, data)


def write(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def put(data, stream=None):
    """Bytes of any kind, for the log."""
    stream = stream or sys.stdout
    if isinstance(stream, Witnessed):
        stream.raw(data)
        return
    write(1, data)


def begin(rank):
    """Puts itself between this process and its log, where a test asked for it."""
    folder = os.environ.get("STANDIN_WITNESS")
    if not folder:
        return
    run, _, attempt = os.environ.get("EFFNET_TOKEN", "x/0").rpartition("/")
    run = run.rpartition("/")[2]
    path = Path(folder, run, f"{attempt}-{rank:04d}")
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    sys.stdout = Witnessed(1, fd)
    sys.stderr = Witnessed(2, fd)
