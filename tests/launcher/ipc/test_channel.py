"""A channel whose peer does not read, or sends damaged messages."""

from __future__ import annotations

import collections
import json
import socket
import time

import pytest

from launcher.core.diagnosis.failure import Death
from launcher.core.messages import (
    AgentDied,
    Died,
    Error,
    Hello,
    Leave,
    NodeEnded,
    Ping,
    Pong,
    Stop,
    decode_message,
)
from launcher.core.run.events import RankExited, RankStarted
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    UnknownKindError,
    encode,
    parse_object,
)
from launcher.ipc.channel import Channel, ChannelClosedError
from tests.damage import damaged_frames

SAMPLES = [
    json.dumps(encode(message)).encode()
    for message in (
        Stop(save=False, by="me"),
        Hello(3),
        Pong(t=0.5),
        Died(Death("node-b", 0.5, 3, signal=9, last_lines=("a", "b")), n=4, t=0.5),
        NodeEnded(40, leftover=(7,), n=5, t=0.5),
        AgentDied(None, 9),
        RankStarted(1, 0, "node-a", 0, None, 77, 0.5, n=1, t=0.5),
        RankExited(1, 0, "node-a", None, 9, n=2, t=0.5),
    )
]


def test_a_channel_closes_when_the_peer_does_not_read(monkeypatch):
    monkeypatch.setattr("launcher.ipc.channel.MAX_UNSENT_BYTES", 1 << 20)
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    began = time.monotonic()
    channel.send(Error("x" * 1_000_000))
    with pytest.raises(ChannelClosedError):
        channel.send(Error("x" * 1_000_000))
    assert time.monotonic() - began < 30  # it does not wait for the other side
    theirs.close()


def test_a_channel_splits_messages():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"kind": "ping"}\n{"kind": "stop", "later": 1}\n{"kind": ')
    assert channel.wait(1) == [Ping(), Stop()]
    theirs.sendall(b'"leave"}\n')
    assert channel.wait(1) == [Leave()]
    theirs.close()
    assert channel.receive() == []
    assert channel.closed
    assert channel.problem == ""


def test_the_last_message_of_a_closed_peer_arrives():
    """A peer that sends its last message and closes: an answer to it fails, the message counts."""
    ours, theirs = socket.socketpair()
    channel, peer = Channel(ours), Channel(theirs)
    peer.send(Leave())
    peer.close()
    with pytest.raises(ChannelClosedError):
        channel.send(Ping())
    channel.flush()
    assert not channel.closed
    assert channel.receive() == [Leave()]
    assert channel.closed


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense", "not JSON"),
        (b"[1]", "not an object"),
        (b'{"n": 3}', "kind: missing"),
        (b'{"kind": "hello", "after": "x"}', "after: expected int"),
        (b'{"kind": "rank_exited", "n": 1, "t": 0.5}', "attempt: missing"),
        (b'{"kind": "pong", "t": "abc"}', "t: expected float"),
        (b'{"kind": "hello", "after": ' + b"9" * 400 + b"}", "after: too large"),
        (b'{"kind": "ping", "later": ' + b"[" * 100_000, "not JSON"),
        (b'{"kind": "stop", "by": "\xff"}', "not JSON"),
    ],
)
def test_a_damaged_message_closes_the_connection_and_the_reason_is_known(line, why):
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"kind": "ping"}\n' + line + b'\n{"kind": "leave"}\n')
    assert channel.receive() == [Ping()]
    assert channel.closed
    assert why in channel.problem
    theirs.close()


def test_a_message_without_end_closes_the_connection():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.settimeout(30)
    block, sent = b"x" * (1 << 16), 0
    while not channel.closed:
        assert sent <= MAX_FRAME_BYTES + 64 * len(block)
        sent += theirs.send(block)
        channel.receive()
    assert "longer than" in channel.problem
    theirs.close()


def test_an_unknown_kind_is_answered_with_the_protocol_version_and_the_connection_stays():
    ours, theirs = socket.socketpair()
    channel, other = Channel(ours), Channel(theirs)
    theirs.sendall(b'{"kind": "later"}\n{"kind": "ping"}\n')
    assert channel.receive() == [Ping()]
    reply = other.wait(1)[0]
    assert isinstance(reply, Error)
    assert reply.version == PROTOCOL_VERSION
    assert "later" in reply.text
    channel.close()
    other.close()


def _outcome(frame: bytes) -> type:
    try:
        return type(decode_message(parse_object(frame)))
    except (Mismatch, UnknownKindError) as error:
        return type(error)


def test_100000_damaged_frames_end_no_decoder():
    """Each is a message, or one of the two errors that close or answer."""
    found = collections.Counter(map(_outcome, damaged_frames(SAMPLES, 100_000, seed=7)))
    assert sum(found.values()) == 100_000
    assert found[Mismatch] > 10_000
    assert found[UnknownKindError] > 1_000
    assert found[Stop] > 1_000


def test_a_channel_survives_damaged_frames():
    for frame in damaged_frames(SAMPLES, 3_000, seed=8):
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        theirs.sendall(frame + b"\n")
        channel.receive()
        assert channel.closed == bool(channel.problem)
        channel.close()
        theirs.close()
