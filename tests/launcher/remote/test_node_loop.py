"""The thread that reads and writes the connections to all nodes: real processes as nodes."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import NodeError
from launcher.remote.frames import Frame, FrameReader
from launcher.remote.node_loop import PING, NodeLoop, Wire
from launcher.remote.openssh.stream import ProcessStream

LIMIT_S = 60
ECHO = """
import sys
print('noise of a login shell', flush=True)
print('mark', flush=True)
print('{"kind": "first"}', flush=True)
for line in sys.stdin:
    print(line, end='', flush=True)
print('{"kind": "last"}', flush=True)
"""
FLOOD = """
print('mark')
for n in range(200_000):
    print('{"n": %d}' % n)
"""


class Node:
    """A process behind pipes, its wire, and the supervisor's end of the socket pair."""

    def __init__(self, loop: NodeLoop, program: str, errors: int) -> None:
        pipe = subprocess.PIPE
        argv = [sys.executable, "-c", program]
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=errors)
        self.stream = ProcessStream(self.process, errors, lambda: True, lambda _: None)
        self.ends: list[bool] = []
        self.files: list[bytes] = []
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(LIMIT_S)
        frames = FrameReader("n", self.stream, "mark")
        self.wire = Wire(self.stream, frames, theirs, self._take, self.ends.append)
        self._lines = self.sock.makefile("rb")
        loop.add(self.wire)

    def line(self) -> bytes:
        """The next one that is no answer to a ping."""
        while (line := self._lines.readline()) == PING:
            pass
        return line

    def close(self) -> None:
        self.stream.close()
        self._lines.close()
        self.sock.close()
        self.process.wait()

    def _take(self, frame: Frame) -> bool:
        if frame.message.get("kind") == "broken":
            raise NodeError("n", "it sent what cannot be")
        if "data" in frame.message:
            self.files.append(frame.message["data"])
        return "data" in frame.message


class Leaving(Node):
    """Its supervisor leaves as soon as something is on its way to it."""

    def __init__(self, loop: NodeLoop, program: str, errors: int) -> None:
        self.heard: list[str] = []
        super().__init__(loop, program, errors)

    def _take(self, frame: Frame) -> bool:
        kind = frame.message["kind"]
        self.heard += [kind] if kind != "ping" else []
        if kind == "first":
            self.sock.sendall(b'{"kind": "leave"}\n')
            self._lines.close()
            self.sock.close()
        return False


@pytest.fixture
def loop() -> NodeLoop:
    return NodeLoop()


@pytest.fixture
def node(loop: NodeLoop, tmp_path: Path) -> Iterator[Callable[[str], Node]]:
    made: list[Node] = []
    with (tmp_path / "errors").open("w+b") as errors:

        def make(program: str = ECHO) -> Node:
            made.append(Node(loop, program, errors.fileno()))
            return made[-1]

        yield make
        for one in made:
            one.close()


def until(is_true: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def threads() -> int:
    return sum(thread.name == "nodes" for thread in threading.enumerate())


def test_one_thread_serves_all_and_ends_with_the_last(node: Callable[..., Node]) -> None:
    nodes = [node() for _ in range(12)]
    for number, one in enumerate(nodes):
        assert one.line() == b'{"kind": "first"}\n'
        one.sock.sendall(b'{"kind": "to %d"}\n' % number)
        assert one.line() == b'{"kind": "to %d"}\n' % number
    assert threads() == 1
    for one in nodes:
        one.sock.shutdown(socket.SHUT_WR)  # as a supervisor that leaves
        assert one.line() == b'{"kind": "last"}\n'
        assert one.line() == b""
        one.wire.wait(LIMIT_S)
        assert one.ends == [False]
    until(lambda: threads() == 0)
    again = node()
    assert again.line() == b'{"kind": "first"}\n'


def test_each_node_is_pinged(node: Callable[..., Node]) -> None:
    one = node()
    lines = one.sock.makefile("rb")
    assert [lines.readline() for _ in range(4)].count(PING) >= 2
    lines.close()
    assert one.wire.pinged_s == pytest.approx(time.time(), abs=LIMIT_S)


def test_a_node_that_is_stopped_ends_and_the_others_never_wait(node: Callable[..., Node]) -> None:
    stopped, other = node(), node()
    assert stopped.line() == other.line() == b'{"kind": "first"}\n'
    os.kill(stopped.process.pid, signal.SIGSTOP)
    # More than its pipe takes.
    stopped.sock.setblocking(False)
    sent = 0
    while select.select([], [stopped.sock], [], 0.5)[1] and sent < 1 << 22:
        sent += stopped.sock.send(b'{"kind": "much"}\n' * 4096)
    began = time.monotonic()
    answers = 0
    while not stopped.ends:
        other.sock.sendall(b'{"kind": "ping"}\n')
        assert other.line() == b'{"kind": "ping"}\n'
        answers += 1
        assert time.monotonic() < began + LIMIT_S
    assert answers > 1
    assert stopped.ends == [True]
    assert not other.ends


def test_a_line_that_cannot_be_ends_one_connection(node: Callable[..., Node]) -> None:
    broken, other = node(), node()
    broken.sock.sendall(b'{"kind": "broken"}\n')
    assert broken.line() == b'{"kind": "first"}\n'
    assert broken.line() == b""
    broken.wire.wait(LIMIT_S)
    assert broken.ends == [True]
    assert other.line() == b'{"kind": "first"}\n'
    other.sock.sendall(b'{"kind": "more"}\n')
    assert other.line() == b'{"kind": "more"}\n'


def test_a_supervisor_that_reads_late_misses_nothing(node: Callable[..., Node]) -> None:
    """More than the sockets hold: the node has to wait, and its end comes after all of it."""
    flood, other = node(FLOOD), node()
    assert other.line() == b'{"kind": "first"}\n'
    assert other.stream.write_now(b'{"kind": "more"}\n')
    assert other.line() == b'{"kind": "more"}\n'
    assert not flood.ends
    assert [flood.line() for _ in range(200_000)] == [b'{"n": %d}\n' % n for n in range(200_000)]
    assert flood.line() == b""


def test_a_connection_can_be_ended_from_outside(node: Callable[..., Node], loop: NodeLoop) -> None:
    one = node()
    assert one.line() == b'{"kind": "first"}\n'
    loop.end(one.wire)
    one.wire.wait(LIMIT_S)
    assert one.ends == [True]
    assert one.process.poll() is not None


def test_what_a_supervisor_says_last_is_passed_on_though_it_reads_no_more(
    loop: NodeLoop, tmp_path: Path
) -> None:
    """It leaves while a line for it is on its way."""
    with (tmp_path / "errors").open("w+b") as errors:
        one = Leaving(loop, ECHO, errors.fileno())
        one.wire.wait(LIMIT_S)
        assert one.heard == ["first", "leave", "last"]
        assert one.ends == [False]
        one.close()


def test_a_node_waits_for_a_supervisor_without_work_for_this_thread(
    node: Callable[..., Node], loop: NodeLoop
) -> None:
    flood = node(FLOOD)
    until(lambda: not flood.wire.reads)
    (thread,) = (one for one in threading.enumerate() if one.name == "nodes")
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    began, used = time.monotonic(), time.clock_gettime(clock)
    until(lambda: time.monotonic() > began + 1.0)
    assert time.clock_gettime(clock) - used < 0.5
    assert not flood.wire.reads


def test_a_thread_that_fails_ends_all_its_connections_and_the_next_has_another(
    node: Callable[..., Node], loop: NodeLoop
) -> None:
    nodes = [node(), node()]
    for one in nodes:
        assert one.line() == b'{"kind": "first"}\n'
    vars(nodes[0].wire)["turn"] = None  # an error that nothing expects
    for one in nodes:
        one.wire.wait(LIMIT_S)
        assert one.ends == [True]
        assert one.line() == b""
    assert node().line() == b'{"kind": "first"}\n'


def test_connections_end_also_where_no_thread_can_be_started(
    node: Callable[..., Node], loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = node(), node()
    assert one.line() == other.line() == b'{"kind": "first"}\n'
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    loop.end(one.wire)
    until(lambda: "node-end" in refused)
    other.sock.sendall(b'{"kind": "more"}\n')
    assert other.line() == b'{"kind": "more"}\n'
    monkeypatch.setattr(threading.Thread, "start", start)
    one.wire.wait(LIMIT_S)
    assert one.ends == [True]
