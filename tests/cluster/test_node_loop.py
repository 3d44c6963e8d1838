"""One thread for the connections to all nodes: a node that is gone never makes the others wait."""

from __future__ import annotations

import socket

import pytest

from launcher.core.profile.model import Node
from launcher.remote import ssh
from launcher.remote.frames import FrameReader
from launcher.remote.node_loop import PING, NodeLoop, Wire
from tests.cluster.hosts import Cluster

LIMIT_S = 120
MUCH = b'{"kind": "much"}\n' * 100_000
"""More than the system takes for a connection, and less than sshd lets a channel send."""


class Echo:
    """A node that says what it hears, and its wire."""

    def __init__(self, loop: NodeLoop, node: Node) -> None:
        self.connection = ssh.connect(node)
        self.stream = self.connection.start(["sh", "-c", "echo mark; exec cat"])
        self.ends: list[bool] = []
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(LIMIT_S)
        self._lines = self.sock.makefile("rb")
        frames = FrameReader(node.label, self.stream, "mark")
        self.wire = Wire(self.stream, frames, theirs, lambda _: False, self._ended)
        loop.add(self.wire)

    def line(self) -> bytes:
        """The next one that is no ping."""
        while (line := self._lines.readline()) == PING:
            pass
        return line

    def answers(self, text: bytes) -> bool:
        self.sock.sendall(text)
        return self.line() == text

    def close(self) -> None:
        self.connection.close()
        self._lines.close()
        self.sock.close()

    def _ended(self, is_broken: bool) -> None:
        self.ends.append(is_broken)
        if is_broken:
            self.connection.close()


@pytest.mark.parametrize("jump", ["", "gamma"])
def test_a_node_that_takes_no_more_ends_and_the_others_answer(hosts: Cluster, jump: str) -> None:
    loop = NodeLoop()
    through = f"root@{hosts[jump].address}" if jump else ""
    address = {name: hosts[name].address for name in ("alpha", "beta")}
    gone, other = (
        Echo(loop, Node(address=address["alpha"], name="alpha", user="root", proxy_jump=through)),
        Echo(loop, Node(address=address["beta"], name="beta", user="root")),
    )
    assert gone.answers(b'{"kind": "first"}\n')
    assert other.answers(b'{"kind": "first"}\n')
    hosts[jump or "alpha"].link_down()
    gone.sock.sendall(MUCH)
    while not gone.ends:
        assert other.answers(b'{"kind": "more"}\n')
    assert gone.line() == b""
    assert gone.ends == [True]
    assert other.answers(b'{"kind": "last"}\n')
    # Much also arrives where the node takes it.
    other.sock.settimeout(None)
    other.sock.sendall(MUCH[: 17 * 10_000])
    assert all(other.line() == b'{"kind": "much"}\n' for _ in range(10_000))
    for one in (gone, other):
        one.close()
