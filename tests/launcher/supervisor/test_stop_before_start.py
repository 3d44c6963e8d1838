"""A stop that comes while the agents are being launched."""

from __future__ import annotations

import selectors
import socket

from launcher.core.messages import Hello, Start, Stop
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.ipc.channel import Channel
from launcher.reading.profiles import find_profile
from launcher.supervisor.agent_link import AgentLink
from launcher.supervisor.agent_links import AgentLinks


class _Node:
    node = "node-a"
    is_remote = False
    is_slow = False

    def launch(self) -> Channel:
        ours, theirs = socket.socketpair()
        self.agent = Channel(theirs)
        return Channel(ours)


def test_a_stop_before_the_start_is_sent_again_after_it():
    node = _Node()
    plan = make_plan(find_profile("local-cpu"), RunContext("r", "/runs/r"))
    with selectors.DefaultSelector() as selector:
        links = AgentLinks((AgentLink(node, plan),), selector)
        links.order(links["node-a"], (Stop(by="me"),))
        links.launch()
        kinds = [type(message) for message in node.agent.receive()]
        links.release(links["node-a"])
    node.agent.close()
    assert kinds[0] is Hello
    assert kinds.index(Start) < len(kinds) - 1
    assert kinds[-1] is Stop


class _NeverStarted(_Node):
    """A node whose agent the supervisor before this one did not come to start."""

    def connect(self, may_launch: bool) -> Channel:
        assert may_launch
        return self.launch()


def test_a_new_supervisor_starts_what_the_one_before_it_did_not():
    node = _NeverStarted()
    plan = make_plan(find_profile("local-cpu"), RunContext("r", "/runs/r"))
    with selectors.DefaultSelector() as selector:
        links = AgentLinks((AgentLink(node, plan, may_launch=True),), selector)
        links.reconnect(links["node-a"])
        kinds = [type(message) for message in node.agent.receive()]
        links.release(links["node-a"])
    node.agent.close()
    assert kinds == [Hello, Start]
