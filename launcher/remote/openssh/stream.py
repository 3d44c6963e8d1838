"""stdin and stdout of a command that an ssh process runs (`launcher.remote.connection.Stream`)."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

from launcher.remote.openssh import program

BROKEN_CODE = 255
"""ssh's own exit code when it failed."""
SLICE_S = 1.0
"""A reader sees within this time that another thread has closed the stream."""
EXIT_S = 2.0
"""An exit code comes with the end of the output, or not at all: the command still runs."""
POLL_S = 0.005


class _End:
    """Our end of a pipe, which one thread uses at a time and any thread may close."""

    def __init__(self, file: IO[bytes] | None) -> None:
        assert file is not None
        os.set_blocking(file.fileno(), False)
        self._file = file
        self._used = threading.Lock()
        self.is_closing = False

    @contextlib.contextmanager
    def use(self) -> Iterator[int]:
        """The file descriptor; -1 when it is closed."""
        try:
            with self._used:
                yield -1 if self._file.closed else self._file.fileno()
        finally:
            if self.is_closing:
                self.close()

    def close(self) -> None:
        """At once, or as soon as the thread that uses it sees it."""
        self.is_closing = True
        if self._used.acquire(blocking=False):
            self._file.close()
            self._used.release()


class ProcessStream:
    """`errors`: a file with its stderr. `answers`: whether the shared login lives."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        errors: int,
        answers: Callable[[], bool],
        on_close: Callable[[ProcessStream], None],
    ) -> None:
        self.is_silent = False
        self.has_ended = False
        self._process = process
        self._errors = os.dup(errors)
        self._said = ""
        self._answers = answers
        self._on_close = on_close
        self._input, self._output = _End(process.stdin), _End(process.stdout)
        self._silent_s: float | None = None
        self._is_closed = False
        self._closing = threading.Lock()

    def silent_after(self, silent_s: float | None) -> None:
        self._silent_s = silent_s

    def read(self, limit: int = 1 << 16) -> bytes:
        self.is_silent = False
        with self._output.use() as fd:
            while self._wait(self._output, fd, select.POLLIN):
                try:
                    data = os.read(fd, limit)
                except BlockingIOError:
                    continue
                except OSError:
                    return b""
                if not data:
                    self.has_ended = self._has_ended()
                return data
            self.is_silent = not self._output.is_closing
        return b""

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._input.use() as fd:
            while view:
                if not self._wait(self._input, fd, select.POLLOUT):
                    raise TimeoutError("nothing could be sent in time")
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(fd, view) :]

    def watch(self, on_data: Callable[[], None]) -> int | None:
        del on_data
        with self._output.use() as fd:
            # Its own: this stream may be closed while somebody waits for it.
            return None if fd < 0 else os.dup(fd)

    def read_now(self, limit: int = 1 << 16) -> bytes:
        with self._output.use() as fd:
            if fd < 0:
                return b""
            try:
                return os.read(fd, limit)
            except BlockingIOError:
                raise
            except OSError:
                return b""

    def write_now(self, data: bytes) -> int:
        with self._input.use() as fd:
            if fd < 0:
                raise OSError("it is closed")
            return os.write(fd, data)

    def end_input(self) -> None:
        self._input.close()

    def errors(self) -> str:
        with self._closing:
            if not self._is_closed:
                self._said = os.pread(self._errors, 1 << 16, 0).decode("utf-8", "replace")
        return program.failed_command(self._said)

    def close(self) -> None:
        self.errors()
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            os.close(self._errors)
        # The login's process closes the channel, and the command there reads the end.
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()
        self._on_close(self)

    def _wait(self, end: _End, fd: int, event: int) -> bool:
        """Whether it is ready; false after silence, or when it was closed."""
        poll = select.poll()
        poll.register(max(fd, 0), event)
        since = time.monotonic()
        while not end.is_closing and fd >= 0:
            left = None if self._silent_s is None else since + self._silent_s - time.monotonic()
            if left is not None and left <= 0:
                return False
            if poll.poll(1000 * (SLICE_S if left is None else min(left, SLICE_S))):
                return True
        return False

    def _has_ended(self) -> bool:
        """Whether the output ended because the command closed it, and not with the login."""
        deadline = time.monotonic() + EXIT_S
        while time.monotonic() < deadline:
            try:
                found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                # A supervisor reaps all its children.
                return not self._is_closed and self._answers()
            if found is not None:
                return found.si_code == os.CLD_EXITED and found.si_status != BROKEN_CODE
            time.sleep(POLL_S)
        return True
