"""The agent's socket: nothing before a hello."""

from __future__ import annotations

import socket

from launcher.core.messages import Hello, Trouble
from launcher.ipc.channel import Channel
from launcher.store.journal import Journal


def test_an_agent_says_nothing_to_one_who_has_not_said_hello(tmp_path):
    """A new message that came before the old ones would hide them for ever."""
    from launcher.agent.__main__ import Agent
    from launcher.ipc.endpoint import Endpoint

    agent = Agent(Journal(tmp_path / "a.jsonl"), Endpoint(tmp_path, "a", tmp_path / "a.json"))
    ours, theirs = socket.socketpair()
    listener, channel = Channel(ours), Channel(theirs)
    agent._channels.append(channel)
    try:
        agent.emit(Trouble("one"))
        assert listener.receive() == []
        agent._obey(channel, Hello(0))
        agent.emit(Trouble("two"))
        assert [message.n for message in listener.receive()] == [1, 2]
    finally:
        listener.close()
        channel.close()
