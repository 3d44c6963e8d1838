"""What an agent does with the messages on its socket, and without any."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest

from launcher.agent.__main__ import OVER_LIMIT_S, Agent
from launcher.core.messages import Hello, Leave, Trouble
from launcher.ipc.channel import Channel
from launcher.ipc.endpoint import Endpoint
from launcher.process.guard import Guarded
from launcher.store.journal import Journal


@pytest.fixture
def agent(tmp_path):
    return Agent(
        Journal(tmp_path / "a.jsonl"),
        Endpoint(tmp_path, "a", tmp_path / "a.json"),
        "token",
        Guarded(),
    )


@pytest.fixture
def peers(agent):
    """(the supervisor's end, the agent's end) of a connection."""
    ours, theirs = socket.socketpair()
    supervisor, channel = Channel(ours), Channel(theirs)
    agent._channels.append(channel)
    yield supervisor, channel
    supervisor.close()
    channel.close()


def ranks(is_over):
    """Ranks that have ended, or not; `ended` has the reasons for which they were to end."""
    ended = []
    limits = SimpleNamespace(orphan_limit_s=1800.0)
    return SimpleNamespace(
        is_over=is_over,
        awaits_end_of=lambda pid: False,
        ended=ended,
        end=ended.append,
        turn=lambda now: None,
        plan=SimpleNamespace(limits=limits),
    )


def test_an_agent_sends_nothing_before_hello(agent, peers):
    """A new message that came before the old ones would hide them for ever."""
    supervisor, channel = peers
    agent._reports.emit(Trouble("one"))
    assert supervisor.receive() == []
    agent._obey(channel, Hello(0))
    agent._reports.emit(Trouble("two"))
    assert [message.n for message in supervisor.receive()] == [1, 2]


def test_a_leave_command_is_obeyed_when_reports_cannot_be_sent(agent, peers):
    supervisor, channel = peers
    agent._ranks = ranks(is_over=True)
    agent._obey(channel, Hello(0))
    agent._reports.emit(Trouble("not read by the supervisor"))
    supervisor.send(Leave())
    supervisor.close()
    agent._reports.emit(Trouble("late"))
    agent._turn()
    agent._ready(channel)
    agent._turn()
    assert agent._leave


def test_a_leave_command_before_the_ranks_end_is_obeyed_afterwards(agent, peers):
    _, channel = peers
    agent._ranks = ranks(is_over=False)
    agent._obey(channel, Leave())
    agent._turn()
    assert agent._ranks.ended
    assert not agent._leave
    agent._ranks.is_over = True
    agent._turn()
    assert agent._leave


@pytest.mark.parametrize("is_over", [True, False])
def test_an_agent_without_a_supervisor_exits_soon_after_its_ranks(agent, is_over):
    agent._ranks = ranks(is_over)
    agent._alone_since = time.monotonic() - OVER_LIMIT_S - 1
    agent._turn()
    assert agent._leave == is_over
