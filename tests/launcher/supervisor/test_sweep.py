"""The end of a node's processes whose agent is dead, when the node refuses it."""

from __future__ import annotations

import selectors
import time

from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.errors import NodeError
from launcher.reading.profiles import find_profile
from launcher.supervisor import agent_links
from launcher.supervisor.agent_link import AgentLink
from launcher.supervisor.agent_links import AgentLinks


class _Refusing:
    node = "node-a"
    is_remote = True
    sweeps = 0

    def connect(self, may_launch):
        raise NodeError(self.node, "refused")

    def missed(self, after):
        return []

    def is_agent_alive(self):
        return False

    def sweep(self):
        self.sweeps += 1
        raise NodeError(self.node, "refused")


def test_a_sweep_that_fails_at_once_waits_before_the_next(monkeypatch):
    monkeypatch.setattr(agent_links, "SWEEP_S", 0.2)
    node = _Refusing()
    plan = make_plan(find_profile("local-cpu"), RunContext("r", "/runs/r"))
    link = AgentLink(node, plan)
    with selectors.DefaultSelector() as selector:
        links = AgentLinks((link,), selector)
        began = time.monotonic()
        links.reconnect(link)
        while node.sweeps < 3:
            links.turn()
            assert time.monotonic() - began < 60
            time.sleep(0.005)
    # As much between two of them.
    assert time.monotonic() - began > 0.4
