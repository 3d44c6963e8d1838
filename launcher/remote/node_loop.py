"""One thread for the connections to all nodes: it reads them, writes to them, and pings.

Each connection (`Wire`) is joined to a socket of the supervisor's: what a node says comes out there
line by line, and lines that the supervisor writes go to the node. Nothing here waits for one node:
a stream that has nothing is left, and one that takes nothing is tried again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable

from launcher.core.messages import Ping
from launcher.core.text.records import encode
from launcher.errors import NodeError
from launcher.process.log import log_line
from launcher.remote.connection import Stream
from launcher.remote.frames import Frame, FrameReader

PING = json.dumps(encode(Ping()), separators=(",", ":")).encode() + b"\n"
PING_S = 1.0
SILENT_S = 5.0
"""A connection on which nothing comes for this long is dead: each ping has an answer."""
AGAIN_S = 0.05
"""Until a stream that took nothing is tried again."""
TURN_S = 0.25
LATE_S = 1.0
"""Of what a turn is late no more counts as silence: this process did not run, nodes may have."""
BLOCK_BYTES = 1 << 16
MAX_BLOCKS = 16
"""Of one connection in a turn: others must not wait for one that floods."""
MAX_UNREAD_BYTES = 1 << 20
"""For the supervisor; then the node has to wait."""


class Wire:
    """One connection, used by the thread of a `NodeLoop` only, but for `close` and `join`.

    `on_frame`: whether it was for the owner, and not for the supervisor. It may raise `NodeError`.
    `on_end`: when it is over, in a thread of its own; gets whether the supervisor did not end it.
    """

    def __init__(
        self,
        stream: Stream,
        frames: FrameReader,
        sock: socket.socket,
        on_frame: Callable[[Frame], bool],
        on_end: Callable[[bool], None],
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.pinged_s = 0.0
        """When the newest ping went out, Unix seconds."""
        self.has_data = True
        """Whether the stream may have something to read. Its own thread may set it."""
        self.must_end = False
        self.fd: int | None = None
        """Readable when the stream is, where its own thread does not say so."""
        self._stream, self._frames = stream, frames
        self._on_frame, self._on_end = on_frame, on_end
        self._to_node = bytearray()
        self._from_supervisor = b""
        self._to_supervisor = bytearray()
        self._is_leaving = self._has_ended_input = False
        self._is_held = self._is_at_end = False
        self._ping_at = self._heard_at = self._taken_at = time.monotonic()
        self._ended = threading.Event()

    def watch(self, on_data: Callable[[], None]) -> None:
        """From now on `on_data` is called when there may be something to read, or `fd` is."""
        self.fd = self._stream.watch(on_data)

    @property
    def wanted(self) -> int:
        """What the loop waits for on the supervisor's socket."""
        reads = 0 if self._is_leaving else selectors.EVENT_READ
        return reads | (selectors.EVENT_WRITE if self._to_supervisor else 0)

    @property
    def reads(self) -> bool:
        """Whether what the node says is wanted now."""
        return not (self._is_at_end or self._is_held)

    @property
    def is_writing(self) -> bool:
        """Whether the node has not taken everything yet."""
        return bool(self._to_node)

    def turn(self, now: float) -> bool:
        """Passes on what is there. False when it is over. `now`: monotonic."""
        try:
            return self._pass_on(now) and not self.must_end
        except OSError:
            pass  # the connection broke
        except Exception as error:  # noqa: BLE001 other nodes' connections go on
            log_line(f"connection closed: {type(error).__name__}: {error}")
        return False

    def was_late(self, late_s: float) -> None:
        """This process did not run for so long: that was no silence of the node's."""
        self._heard_at += late_s
        self._taken_at += late_s

    def end(self) -> None:
        """Closes everything. May block."""
        try:
            if self.fd is not None:
                os.close(self.fd)
            # The owner ends a connection that takes nothing: closing the stream would wait for it.
            self._on_end(not self._has_ended_input)
            self._stream.close()
        finally:
            # The supervisor reads what is there, and then the end.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()
            self._ended.set()

    def wait(self, limit_s: float | None = None) -> None:
        """Until it has ended."""
        self._ended.wait(limit_s)

    def _pass_on(self, now: float) -> bool:
        self._hear_supervisor()
        if now >= self._ping_at and not self._is_leaving:
            self._ping_at = now + PING_S
            self._to_node += PING
        self._write(now)
        if self.has_data and not self._is_at_end:
            try:
                self._read(now)
            except NodeError as error:
                # The next connection asks for the files from where they end here.
                log_line(f"connection closed: {error}")
                self._is_at_end = True
        self._tell_supervisor()
        if self._is_at_end:
            return bool(self._to_supervisor)
        if self._is_held:
            self._heard_at = now
        return now - self._heard_at <= SILENT_S and now - self._taken_at <= SILENT_S

    def _read(self, now: float) -> None:
        # What comes while it is read counts as new: nothing is missed between the two.
        self.has_data = False
        self._pass(self._frames.read_from(b""))  # what came with the reply
        for _ in range(MAX_BLOCKS):
            if len(self._to_supervisor) > MAX_UNREAD_BYTES:
                self._is_held = True
                return
            try:
                data = self._stream.read_now(BLOCK_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._is_at_end = True
                return
            self._heard_at = now
            self._pass(self._frames.read_from(data))
        self.has_data = True

    def _pass(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if not self._on_frame(frame):
                self._to_supervisor += frame.line + b"\n"

    def _tell_supervisor(self) -> None:
        try:
            while self._to_supervisor:
                del self._to_supervisor[: self.sock.send(self._to_supervisor)]
        except BlockingIOError:
            pass
        except OSError:
            self._to_supervisor.clear()  # it has left: what it said last is still passed on
        if self._is_held and not self._to_supervisor:
            self._is_held, self.has_data = False, True

    def _hear_supervisor(self) -> None:
        """Whole lines only, so that a ping never comes into the middle of one."""
        while not self._is_leaving:
            try:
                data = self.sock.recv(BLOCK_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            self._is_leaving = not data
            head, newline, self._from_supervisor = (self._from_supervisor + data).rpartition(b"\n")
            self._to_node += head + newline

    def _write(self, now: float) -> None:
        while self._to_node:
            is_ping = PING in self._to_node
            try:
                del self._to_node[: self._stream.write_now(bytes(self._to_node[:BLOCK_BYTES]))]
            except BlockingIOError:
                return
            except OSError:
                self._to_node.clear()  # it has ended: what it said before is still read
                break
            self._taken_at = now
            if is_ping:
                self.pinged_s = time.time()
        self._taken_at = now
        if self._is_leaving and not self._has_ended_input:
            with contextlib.suppress(BlockingIOError):
                self._stream.end_input()
                self._has_ended_input = True


class NodeLoop:
    """Runs its thread while it has connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: list[Wire] = []
        self._wires: set[Wire] = set()
        self._ready: set[Wire] = set()
        self._wake_fd = -1

    def add(self, wire: Wire) -> None:
        """From now on the thread passes on what comes. Raises `OSError`, and the wire has ended."""
        try:
            with self._lock:
                if self._wake_fd < 0:
                    self._begin()
                self._added.append(wire)
                os.eventfd_write(self._wake_fd, 1)
        except OSError:
            wire.end()
            raise

    def _begin(self) -> None:
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            threading.Thread(target=self._run, name="nodes", daemon=True).start()
        except RuntimeError as error:
            self._forget_all()
            raise OSError(str(error)) from error

    def _forget_all(self) -> list[Wire]:
        """The next connection gets another thread. With the lock."""
        os.close(self._wake_fd)
        self._wake_fd = -1
        wires = [*self._wires, *self._added]
        self._wires, self._added = set(), []
        return wires

    def end(self, wire: Wire) -> None:
        """Asks for its end, which `Wire.wait` waits for."""
        wire.must_end = True
        self._wake(wire)

    def _wake(self, wire: Wire) -> None:
        with self._lock:
            self._ready.add(wire)
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_fd, selectors.EVENT_READ)
                self._serve(selector)
        except Exception as error:  # noqa: BLE001 without this thread no node would be heard again
            log_line(f"connections to all nodes closed: {type(error).__name__}: {error}")
            with self._lock:
                wires = self._forget_all()
            for wire in wires:
                with contextlib.suppress(Exception):
                    wire.end()

    def _serve(self, selector: selectors.BaseSelector) -> None:
        turn_at = all_at = time.monotonic()
        while self._take_added(selector):
            limit_s = 0.0 if self._ready else max(0.0, all_at - time.monotonic())
            found = selector.select(limit_s)
            now = time.monotonic()
            late_s, turn_at = now - turn_at - limit_s, now
            if late_s > LATE_S:
                for wire in self._wires:
                    wire.was_late(late_s - LATE_S)
            ready = self._take_ready(found)
            if now >= all_at:
                ready = set(self._wires)
            for wire in ready & self._wires:
                if not wire.turn(now):
                    self._remove(selector, wire)
                    continue
                _listen(selector, wire.sock, wire.wanted, wire)
                if wire.fd is not None:
                    _listen(selector, wire.fd, selectors.EVENT_READ if wire.reads else 0, wire)
                if wire.has_data and wire.reads:
                    self._ready.add(wire)
            if now >= all_at:
                is_writing = any(wire.is_writing for wire in self._wires)
                all_at = now + (AGAIN_S if is_writing else TURN_S)

    def _take_added(self, selector: selectors.BaseSelector) -> bool:
        """False when nothing is left to do."""
        with self._lock:
            added, self._added = self._added, []
            if not added and not self._wires:
                self._forget_all()
                return False
            self._wires.update(added)
        for wire in added:
            self._ready.add(wire)
            try:
                selector.register(wire.sock, selectors.EVENT_READ, wire)
                wire.watch(functools.partial(self._has_data, wire))
            except OSError as error:
                log_line(f"connection closed: {error}")
                wire.must_end = True
        return True

    def _has_data(self, wire: Wire) -> None:
        """Called by a stream's own thread."""
        if not wire.has_data:
            wire.has_data = True
            self._wake(wire)

    def _take_ready(self, found: list[tuple[selectors.SelectorKey, int]]) -> set[Wire]:
        """Those that have something to do."""
        with self._lock:
            ready, self._ready = self._ready, set()
        for key, _ in found:
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
                continue
            ready.add(key.data)
            if key.fd == key.data.fd:
                key.data.has_data = True
        return ready

    def _remove(self, selector: selectors.BaseSelector, wire: Wire) -> None:
        for file in (wire.sock, wire.fd):
            if file is not None:
                _listen(selector, file, 0, wire)
        try:
            threading.Thread(target=wire.end, name="node-end", daemon=True).start()
        except RuntimeError as error:
            log_line(f"a connection cannot be closed yet: {error}")
            wire.must_end = True  # tried again at the next turn of all
        else:
            self._wires.remove(wire)


def _listen(
    selector: selectors.BaseSelector, file: socket.socket | int, events: int, wire: Wire
) -> None:
    """Waits for these events of a file, and for no others."""
    key = selector.get_map().get(file)
    if key is None:
        if events:
            selector.register(file, events, wire)
    elif not events:
        selector.unregister(file)
    elif key.events != events:
        selector.modify(file, events, wire)
