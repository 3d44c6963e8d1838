"""What a connection to a node can do, whatever made it: paramiko, or the ssh program."""

from __future__ import annotations

import base64
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from launcher.remote.host_keys import fingerprint


@dataclass(frozen=True)
class CommandResult:
    """How a command ended; output as it came."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class HostKey:
    """The public key of a host, which was verified."""

    kind: str
    blob: bytes

    @property
    def words(self) -> str:
        """As OpenSSH prints it."""
        return f"{self.kind} {fingerprint(self.blob)}"

    @property
    def line(self) -> str:
        """As known_hosts has it, without the name of the host."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


class Stream(Protocol):
    """A running command's stdin and stdout. Reading and writing block; one thread each."""

    is_silent: bool
    """Whether the last read ended because nothing came."""

    def silent_after(self, silent_s: float | None) -> None:
        """It ends when nothing can be read or written for this long."""

    @property
    def has_ended(self) -> bool:
        """Whether the command closed its output; false for silence and a broken connection."""

    def read(self, limit: int = 1 << 16) -> bytes:
        """Empty at the end, however it came."""

    def write(self, data: bytes) -> None:
        """Raises `OSError`."""

    def watch(self, on_data: Callable[[], None]) -> int | None:
        """From now on the stream is used without blocking: `read_now` and `write_now`.

        -> a descriptor, the caller's to close, that is readable when there is something to read;
        None: `on_data` is called then, in another thread.
        """

    def read_now(self, limit: int = 1 << 16) -> bytes:
        """Empty at the end. Raises `BlockingIOError` when there is nothing yet."""

    def write_now(self, data: bytes) -> int:
        """-> bytes that were taken. Raises `BlockingIOError` for none, `OSError`."""

    def end_input(self) -> None:
        """The command reads the end of its stdin. After `watch`: raises `BlockingIOError`."""

    def errors(self) -> str:
        """What came on stderr so far."""

    def close(self) -> None:
        """Ends it, whatever the command does. Any thread may call it."""


class Connection(Protocol):
    """A way to run commands on a node. Thread-safe."""

    @property
    def words(self) -> str:
        """Who logs in where, for people."""

    @property
    def is_open(self) -> bool:
        """Whether commands can be started, as far as this machine knows."""

    def start(self, argv: Sequence[str], silent_s: float | None = None) -> Stream:
        """Starts a command without a terminal. Raises `NodeError`.

        The stream ends when nothing can be read or written for `silent_s`.
        """

    def run(
        self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 30.0
    ) -> CommandResult:
        """Runs a command to its end. Raises `NodeError` when the connection breaks."""

    def host_key(self) -> HostKey | None:
        """The key that was verified; `None` where ssh verified it. Raises `NodeError`."""

    def close(self) -> None:
        """Ends all its streams."""


def quoted(argv: Sequence[str]) -> str:
    """The one place where an argument list becomes what sshd's shell reads.

    The shell may be sh, csh, tcsh or fish: what these read differently goes as octal numbers. It
    expands `~/` at the start of a word, which is the home there.
    """
    joined = " ".join(map(_quoted_word, argv))
    if not any(re.search(r"[\n\r!'\\]", word) for word in argv):
        return joined
    octal = re.sub(rb"[^\w ./:=,@+-]", lambda found: b"\\%03o" % found[0][0], os.fsencode(joined))
    return f"""sh -c 'eval "exec $(printf "$1")"' sh '{octal.decode()}'"""


def _quoted_word(word: str) -> str:
    home = re.match(r"~[\w.-]*/", word, re.ASCII)
    start = home[0] if home else ""
    rest = word.removeprefix(start)
    return start + shlex.quote(rest) if rest or not start else start
