"""The process that holds the login of one node and user: ssh's ControlMaster.

It is in a session of its own, so that it outlives the terminal in which a person logged in. It ends
some time after its last command: soon, or after hours where a person would have to log in again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from launcher.core.profile.model import Node
from launcher.errors import LaunchError, NodeError
from launcher.ipc.socket_folder import MAX_SOCKET_PATH_BYTES, runtime_folder
from launcher.process import private
from launcher.remote.openssh import program

BATCH_S = 40.0
CHECK_S = 10.0
POLL_S = 0.05
SUFFIX_BYTES = 17
"""What ssh appends to the socket's name while it makes it."""


def folder() -> Path:
    """Where the sockets are; only this user can open it. Raises `LaunchError`."""
    return private.own_folder(runtime_folder() / "ssh", "Set XDG_RUNTIME_DIR to a folder of yours.")


class Master:
    """Raises `NodeError` where there can be no socket."""

    def __init__(self, node: Node) -> None:
        self._node = node
        who = (node.address, node.port, node.user, node.identity_file, node.proxy_jump)
        digest = hashlib.sha256("\0".join(map(str, who)).encode()).hexdigest()[:16]
        try:
            self.socket = folder() / digest
        except LaunchError as error:
            raise NodeError(node.label, error.message, error.hint) from error
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH_BYTES - SUFFIX_BYTES:
            hint = "Set XDG_RUNTIME_DIR to a folder with a shorter path."
            raise NodeError(node.label, f"{self.socket} is too long for a socket", hint)
        self._asked = self.socket.with_suffix(".asked")
        self._lock = self.socket.with_suffix(".lock")

    @property
    def needs_person(self) -> bool:
        """Whether the newest login was refused without a person, and one logged in."""
        return self._asked.exists()

    @property
    def is_open(self) -> bool:
        """Whether a process listens; its connection may be dead."""
        held = self.hold()
        if held is not None:
            held.close()
        return held is not None

    def hold(self) -> socket.socket | None:
        """A connection to the process, which does not end before it is closed. `None`: it is gone.

        Raises `NodeError`.
        """
        held = socket.socket(socket.AF_UNIX)
        held.settimeout(CHECK_S)
        try:
            held.connect(str(self.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            held.close()
            return None
        except OSError as error:
            held.close()
            text = f"the ssh process at {self.socket} does not answer: {error}"
            raise NodeError(self._node.label, text) from error
        held.setblocking(False)
        return held

    def remove_dead(self) -> None:
        """ssh leaves its socket when it is killed, and the next one would not listen there."""
        self.socket.unlink(missing_ok=True)

    def answers(self) -> bool:
        """Whether the process lives and handles requests."""
        said = self._output(program.check(self._node, self.socket), CHECK_S)
        return "Master running" in said

    @contextlib.contextmanager
    def locked(self, wait_s: float | None) -> Iterator[None]:
        """One login at a time: a second ssh would stay without a socket. Raises `NodeError`."""
        with open(self._lock, "w") as file:
            deadline = None if wait_s is None else time.monotonic() + wait_s
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if deadline is not None and time.monotonic() > deadline:
                    text = f"another process is logging in to {program.words(self._node)}"
                    raise NodeError(self._node.label, text)
                time.sleep(POLL_S)
            yield

    def open(self) -> str:
        """Logs in without a person. -> what ssh said when that failed."""
        argv = program.login(self._node, self.socket)
        said = self._output(argv, BATCH_S)
        if not self.is_open:
            return said or "it ended without a word"
        self._asked.unlink(missing_ok=True)
        return ""

    def open_with_person(self) -> bool:
        """ssh asks at the terminal of this process. -> whether it logged in."""
        sys.stderr.write(f"{self._node.label}: ssh logs in to {program.words(self._node)}\n")
        sys.stderr.flush()
        argv = program.login_of_person(self._node, self.socket)
        try:
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
        except OSError as error:
            raise self._missing(error) from error
        # Its answer also says that it has left the session of the terminal.
        if not self.answers():
            return False
        self._asked.touch(private.FILE_MODE)
        return True

    def _output(self, argv: list[str], limit_s: float) -> str:
        """stderr of a command without a terminal.

        Its exit code would be lost in a supervisor, which reaps all its children.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=program.environment(),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                raise self._missing(error) from error
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return f"no answer within {limit_s:g} s"
            errors.seek(0)
            return errors.read().decode("utf-8", "replace")

    def _missing(self, error: OSError) -> NodeError:
        hint = 'Install OpenSSH\'s client, or leave out transport = "openssh".'
        return NodeError(self._node.label, f"the ssh program cannot be started: {error}", hint)
