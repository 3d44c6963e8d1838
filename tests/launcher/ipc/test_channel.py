"""A channel whose other side does not read, or sends nonsense."""

from __future__ import annotations

import socket
import time

import pytest

from launcher.ipc.channel import Channel, ChannelClosedError


def test_a_channel_gives_up_a_side_that_does_not_read(monkeypatch):
    monkeypatch.setattr("launcher.ipc.channel.MAX_UNSENT_BYTES", 1 << 20)
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    began = time.monotonic()
    channel.send({"text": "x" * 1_000_000})
    with pytest.raises(ChannelClosedError):
        channel.send({"text": "x" * 1_000_000})
    assert time.monotonic() - began < 30  # it does not wait for the other side
    theirs.close()


def test_a_channel_takes_messages_apart_and_skips_nonsense():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"a": 1}\nnonsense\n[1]\n{"b": ')
    assert channel.wait(1) == [{"a": 1}]
    theirs.sendall(b"2}\n")
    assert channel.wait(1) == [{"b": 2}]
    theirs.close()
    assert channel.receive() == []
    assert channel.closed
