"""Where a supervisor or an agent can be reached: a socket, and a file that says where it is.

The file is in the run directory, so every client finds the socket, whatever its own environment
says. A login manager may take the user's runtime folder away at logout while we live on; then
another socket is opened and the file says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import socket
from dataclasses import dataclass
from pathlib import Path

from launcher.ipc import gate
from launcher.ipc.channel import Channel, connect, listen
from launcher.ipc.socket_folder import socket_path
from launcher.process.ownership import is_alive, read_process, unix_time_of
from launcher.store.atomic import write_file

CHECK_S = 1.0
RESERVED_FDS = 32
"""Not for connections: the event log and other files need them."""


@dataclass(frozen=True)
class EndpointAddress:
    """Who listens where. `start_ticks` as in /proc."""

    pid: int
    start_ticks: int
    socket: str
    host: str = ""
    """With a gate, the address of its machine."""
    port: int = 0
    warm_until_s: float = 0.0
    """Until when an agent waits for the next attempt (Unix time); 0: it does not."""

    @property
    def is_alive(self) -> bool:
        return is_alive(self.pid, self.start_ticks)

    def connect(self) -> Channel:
        """Raises `OSError`."""
        return connect(self.socket)

    def connect_through(self, secret: str) -> Channel:
        """Through its gate, from any machine. Raises `OSError`."""
        return Channel(gate.connect(self.host, self.port, secret))


def read_address(file: Path) -> EndpointAddress | None:
    """None when nobody said where he is, or the file is damaged."""
    try:
        data = json.loads(file.read_text())
        place = str(data.get("host", "")), int(data.get("port", 0))
        warm_until_s = float(data.get("warm_until", 0.0))
        return EndpointAddress(
            int(data["pid"]), int(data["start_ticks"]), str(data["socket"]), *place, warm_until_s
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Endpoint:
    """The listening side. `part` names it within the run.

    With a `host`, the address of this machine, it also has a gate, which asks for `secret`.
    """

    def __init__(self, root: Path, part: str, file: Path, host: str = "", secret: str = "") -> None:
        self._host = host
        self._secret = secret
        self._gate: gate.Gate | None = None
        self._root = root
        self._part = part
        self._file = file
        self._path = ""
        self._listener: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._check_at = 0.0
        self._warm_until_s = 0.0

    def open(self, selector: selectors.BaseSelector) -> None:
        """Raises `LaunchError`, `OSError`."""
        self._selector = selector
        self._path = socket_path(self._root, self._part)
        self._listener = listen(self._path)
        selector.register(self._listener, selectors.EVENT_READ)
        self._write()

    def is_warm(self, until_s: float) -> None:
        """Says that an agent waits for the next attempt until then (Unix time)."""
        self._warm_until_s = until_s
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        me = read_process(os.getpid())
        ticks = me.start_time if me is not None else 0
        address: dict[str, object] = {
            "pid": os.getpid(),
            "start_time": unix_time_of(ticks),
            "start_ticks": ticks,
            "socket": self._path,
        }
        if self._host:
            # Not before: its thread would stay in the process that this one was forked from.
            self._gate = self._gate or gate.Gate(self._secret, lambda: self._path)
            address |= {"host": self._host, "port": self._gate.port}
        if self._warm_until_s:
            address["warm_until"] = self._warm_until_s
        write_file(self._file, json.dumps(address) + "\n")

    def reopen_if_gone(self, now: float) -> None:
        """Opens again when the socket was taken away. `now`: monotonic seconds."""
        if now < self._check_at or self._selector is None:
            return
        self._check_at = now + CHECK_S
        if not os.path.exists(self._path):
            self._shut()
            # A full disk or a folder that is gone: the next time, perhaps.
            with contextlib.suppress(OSError):
                self.open(self._selector)

    def is_at(self, source: object) -> bool:
        return source is self._listener

    def accept(self) -> Channel | None:
        """None when the peer is gone, or there are too few file descriptors for another one."""
        if self._listener is None:
            return None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        # The kernel gives the lowest free number: near the limit few are left for files.
        if connection.fileno() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FDS:
            connection.close()
            return None
        return Channel(connection)

    def close(self) -> None:
        self._shut()
        if self._gate is not None:
            self._gate.close()
        for path in (self._path, self._file):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _shut(self) -> None:
        if self._listener is not None and self._selector is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
