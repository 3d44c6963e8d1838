"""Commands over a shared login (`launcher.remote.connection.Connection`): an ssh process each."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence

from launcher.core.profile.model import Node
from launcher.errors import NodeError
from launcher.remote.connection import CommandResult, quoted
from launcher.remote.openssh import program
from launcher.remote.openssh.master import Master
from launcher.remote.openssh.stream import BROKEN_CODE, ProcessStream


class SharedConnection:
    """Closing it leaves the login, which other processes use. `held` keeps the login until then."""

    def __init__(self, node: Node, master: Master, held: socket.socket) -> None:
        self._node = node
        self._master = master
        self._held = held
        self._streams: set[ProcessStream] = set()
        self._lock = threading.Lock()

    @property
    def words(self) -> str:
        return program.words(self._node)

    @property
    def is_open(self) -> bool:
        try:
            while self._held.recv(1 << 12):
                pass  # its greeting
        except BlockingIOError:
            return True
        except OSError:
            pass  # closed by us
        return False

    # stderr goes to a file: nobody has to read it while the command runs.

    def start(self, argv: Sequence[str], silent_s: float | None = None) -> ProcessStream:
        with tempfile.TemporaryFile() as errors:
            process = self._process(argv, errors.fileno())
            stream = ProcessStream(process, errors.fileno(), self._master.answers, self._forget)
        stream.silent_after(silent_s)
        with self._lock:
            self._streams.add(stream)
        return stream

    def run(
        self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 30.0
    ) -> CommandResult:
        with tempfile.TemporaryFile() as errors:
            process = self._process(argv, errors.fileno())
            try:
                output, _ = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired as error:
                text = f"{argv[0]} does not answer within {timeout_s:g} s"
                raise NodeError(self._node.label, f"{self.words}: {text}") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    process.communicate()
            errors.seek(0)
            said = errors.read()
        if process.returncode == BROKEN_CODE and not self._master.answers():
            why = program.failed_command(said.decode("utf-8", "replace"))
            text = f"{self.words}: the connection broke: {why}"
            raise NodeError(self._node.label, text)
        return CommandResult(process.returncode, output, said)

    def host_key(self) -> None:
        return None

    def close(self) -> None:
        with self._lock:
            streams = list(self._streams)
            self._held.close()
        for stream in streams:
            stream.close()

    def _process(self, argv: Sequence[str], errors: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                program.command(self._node, self._master.socket, quoted(argv)),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=program.environment(),
                # Ctrl-C at the terminal is for us.
                start_new_session=True,
            )
        except OSError as error:
            text = f"{self.words}: no command can be run there: {error}"
            raise NodeError(self._node.label, text) from error

    def _forget(self, stream: ProcessStream) -> None:
        with self._lock, contextlib.suppress(KeyError):
            self._streams.remove(stream)
