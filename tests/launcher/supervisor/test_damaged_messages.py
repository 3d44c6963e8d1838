"""Damaged messages on the real sockets of a living run, and in what an agent reports."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
from types import SimpleNamespace

import pytest

from launcher.core.messages import (
    Error,
    Hello,
    Ping,
    Pong,
    RankJoined,
    RankLeft,
    Register,
    RunStatusReply,
    Trouble,
)
from launcher.core.run.events import RankExited
from launcher.core.text.records import encode
from launcher.errors import NodeError
from launcher.ipc.channel import Channel
from launcher.ipc.endpoint import read_address
from launcher.runs.handle import open_run
from launcher.supervisor.agent_link import AgentLink
from launcher.supervisor.agent_links import AgentLinks
from tests.damage import damaged_frames
from tests.launcher.conftest import LIMIT_S

SAMPLES = [
    json.dumps(encode(message)).encode()
    for message in (
        Ping(),
        Hello(3),
        Pong(t=0.5),
        Register(7),
        RankJoined(7, 99_999_999, 5, 0.5),
        RankLeft(99_999_999, None, 9, 0.5),
        RankExited(1, 0, "node-a", None, 9, n=2, t=0.5),
    )
]


def test_300_damaged_frames_on_both_sockets_do_not_affect_a_run(lab):
    root = lab.start(step_s=0.05, epochs=5000)
    lab.wait_for(root, "training_started")
    agent_file = next(root.glob("attempts/001/agents/*.json"))
    files = (root / "supervisor.json", agent_file)
    pids = [read_address(file).pid for file in files]
    for number, frame in enumerate(damaged_frames(SAMPLES, 300, seed=9)):
        for file in files:
            _send(file, frame + (b"\n" if number % 5 else b""))
    for file in files:
        _send(file, b"x" * (64 << 20))
    lines = lab.log(root, 0).count(b"\n")
    lab.until(lambda: lab.log(root, 0).count(b"\n") > lines + 10)
    assert [read_address(file).pid for file in files] == pids
    assert lab.command("status", root.name).returncode == 0
    reply = open_run(root).request(Ping())
    assert isinstance(reply, RunStatusReply)
    assert reply.status == "running"
    for log in (root / "supervisor.log", agent_file.with_suffix(".log")):
        assert "closed: damaged message" in log.read_text()
        assert "longer than" in log.read_text()
        assert "Traceback" not in log.read_text()
    assert lab.command("stop", root.name, "--no-save").returncode == 0
    lab.wait_for(root, "attempt_stopped")


def test_an_unknown_operation_is_answered_and_the_next_one_works(lab):
    root = lab.start(step_s=0.05, epochs=5000)
    lab.wait_for(root, "training_started")
    channel = read_address(root / "supervisor.json").connect()
    channel._sock.sendall(b'{"kind": "pause", "why": 1}\n')
    reply = channel.wait(LIMIT_S)[0]
    assert isinstance(reply, Error)
    assert reply.version
    channel.send(Ping())
    assert isinstance(channel.wait(LIMIT_S)[0], RunStatusReply)
    channel._sock.sendall(b'{"kind": "stop", "save": false, "later": {"a": [1]}}\n')
    lab.wait_for(root, "attempt_stopped")
    channel.close()


def _send(file, data: bytes) -> None:
    """As a client that does not wait for the reply; the other side may close it at any time."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT_S)
        sock.connect(read_address(file).socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass


class _Agent:
    """The other side of a link: sends its lines after the number in the hello."""

    node = "node-b"
    is_remote = False
    clock_ahead_s = 0.0

    def __init__(self, *lines: bytes) -> None:
        self.lines = lines
        self.count = 0
        self.socks: list[socket.socket] = []

    def connect(self, may_launch: bool = False) -> Channel:
        self.count += 1
        if self.count > 5:
            raise NodeError(self.node, "enough")
        ours, theirs = socket.socketpair()
        self.socks.append(theirs)
        return Channel(ours)

    def answer(self) -> None:
        hello = json.loads(self.socks[-1].recv(1 << 16))
        self.socks[-1].sendall(b"".join(line + b"\n" for line in self.lines[hello["after"] :]))

    def missed(self, after: int) -> list[tuple[int, dict[str, object]]]:
        return []

    def is_agent_alive(self) -> bool:
        return True


@pytest.mark.parametrize(
    "bad",
    [
        b'{"kind": "rank_exited", "n": 2, "t": 0.5}',
        json.dumps(encode(RankExited(1, 7, "node-b", 0, n=2, t=0.5))).encode(),
        b'{"kind": "trouble", "n": 2, "t": 0.5, "text": [1]}',
    ],
)
def test_a_report_that_is_damaged_twice_is_skipped_with_an_event(bad):
    good = [json.dumps(encode(Trouble(str(n), n=n, t=0.5))).encode() for n in (1, 3)]
    agent, reports = _Agent(good[0], bad, good[1]), []
    limits, ranks = SimpleNamespace(unreachable_s=60), (SimpleNamespace(rank=0),)
    link = AgentLink(agent, SimpleNamespace(attempt=1, limits=limits, ranks=ranks))
    with selectors.DefaultSelector() as selector:
        links = AgentLinks((link,), selector)
        links.reconnect(link)
        for _ in range(3):
            agent.answer()
            reports += [report for _, report in links.ready(link.channel)]
        links.release(link)
    for sock in agent.socks:
        sock.close()
    assert [(report.kind, report.n) for report in reports] == [
        ("trouble", 1),
        ("report_skipped", 0),
        ("trouble", 3),
    ]
    assert reports[1].number == 2
    assert agent.count == 3
