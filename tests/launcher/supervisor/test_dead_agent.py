"""The death of an agent is the cause, as soon as it is known, whoever is reported first."""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.agent import last_report
from launcher.core.diagnosis.failure import AGENT, Death, name_failure
from launcher.core.messages import AgentDied, Died, NodeEnded, Ping, Pong
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.run.events import (
    AttemptFailed,
    CheckpointWritten,
    FailureKind,
    NodeUnreachable,
    RankExited,
    RankStarted,
)
from launcher.core.run.paths import RunPaths
from launcher.errors import ConnectingError
from launcher.ipc.channel import Channel
from launcher.process import guard
from launcher.reading.profiles import find_profile
from launcher.store.journal import Journal, read_lines
from launcher.supervisor import agent_links, verdict
from launcher.supervisor.agent_link import AgentLink
from launcher.supervisor.attempt import Attempt


class _Node:
    is_remote = True
    clock_ahead_s = 0.0

    def __init__(self, name: str) -> None:
        self.node = name
        self.is_connecting = False
        self._connect()

    def _connect(self) -> None:
        ours, theirs = socket.socketpair()
        self._ours = Channel(ours)
        self.agent = Channel(theirs)

    def connect(self, may_launch: bool = False) -> Channel:
        if self.is_connecting:
            raise ConnectingError(self.node, "still connecting")
        return self._ours

    def lose(self) -> None:
        """Its connection ends, and the next one is only being made."""
        self.agent.close()
        self.is_connecting = True

    def reach(self) -> None:
        """The connection is there; its other end has sent nothing yet."""
        self._connect()
        self.is_connecting = False

    def missed(self, after: int) -> list[tuple[int, dict[str, object]]]:
        return []

    def is_agent_alive(self) -> bool:
        return True


@pytest.fixture
def seen():
    """Number of the newest report of each node that is an event already."""
    return {}


@pytest.fixture
def pair(monkeypatch, seen):
    """An attempt on two nodes, its events, and the nodes; their agents do what the test sends."""
    monkeypatch.setattr(verdict, "SETTLE_S", 0.0)
    # It ends by answers, however late they are; a test that is about its end sets one.
    for name in ("DOUBT_S", "LOST_PEERS_DOUBT_S"):
        monkeypatch.setattr(verdict, name, 3600.0)
    monkeypatch.setattr(agent_links, "AWAY_S", 600.0)
    plan = make_plan(find_profile("cpu-2-nodes-ssh"), RunContext("r", "/runs/r"))
    nodes = [_Node(place.name) for place in plan.nodes]
    events = []
    log = SimpleNamespace(
        add=lambda event, source=None: events.append(event),
        seen=seen,
        state=SimpleNamespace(attempt=None, status=None),
    )
    profile = find_profile("cpu-2-nodes-ssh")
    with selectors.DefaultSelector() as selector:
        links = tuple(AgentLink(node, plan.for_node(node.node)) for node in nodes)
        attempt = Attempt(plan, log, links, selector, profile)
        attempt.adopt()
        yield attempt, events, nodes
    for node in nodes:
        node.agent.close()
        node._ours.close()


def _turn(attempt, nodes):
    for node in nodes:
        attempt.ready(node._ours)
    attempt.turn()


def _rank_died(node, time_s):
    death = Death(node, time_s, rank=2, exit_code=1, last_lines=("ValueError: no peer",))
    return Died(death, n=1, t=time_s)


def test_the_verdict_waits_for_a_node_that_has_not_answered_since_the_first_death(pair):
    attempt, events, (first, second) = pair
    now = time.time()
    second.agent.send(_rank_died(second.node, now))
    _turn(attempt, (first, second))
    assert any(isinstance(message, Ping) for message in first.agent.receive())
    second.agent.send(Pong(t=now))
    _turn(attempt, (first, second))
    assert not [event for event in events if isinstance(event, AttemptFailed)]
    first.agent.send(AgentDied(None, 9, n=1, t=now + 0.1))
    _turn(attempt, (first, second))
    failure = next(event for event in events if isinstance(event, AttemptFailed)).failure
    assert (failure.node, failure.rank, failure.signal) == (first.node, None, 9)
    # Its ranks were not waited for.
    assert not attempt.is_over
    for node in (first, second):
        node.agent.send(NodeEnded(n=9, t=now))
    _turn(attempt, (first, second))
    assert attempt.is_over


def test_the_verdict_waits_for_an_answer_on_a_connection_that_was_lost_at_the_first_death(pair):
    """A connection alone is no answer: the node's side may find that its agent is dead."""
    attempt, events, (first, second) = pair
    first.lose()
    _turn(attempt, (first, second))
    second.agent.send(_rank_died(second.node, time.time()))
    _turn(attempt, (first, second))
    second.agent.send(Pong(t=time.time()))
    first.reach()
    for _ in range(3):
        _turn(attempt, (first, second))
    assert not [event for event in events if isinstance(event, AttemptFailed)]
    assert any(isinstance(message, Ping) for message in first.agent.receive())
    first.agent.send(AgentDied(None, 9, n=1, t=time.time()))
    _turn(attempt, (first, second))
    failure = next(event for event in events if isinstance(event, AttemptFailed)).failure
    assert (failure.node, failure.rank, failure.signal) == (first.node, None, 9)


def test_an_answer_that_was_on_its_way_when_the_agent_died_is_none(pair):
    """Each node is pinged every second anyway: an agent may have answered that, and died then."""
    attempt, events, (first, second) = pair
    second.agent.send(_rank_died(second.node, time.time()))
    attempt.ready(second._ours)
    second.agent.send(Pong(t=time.time()))
    first.agent.send(Pong(t=time.time()))
    first.lose()
    for _ in range(3):
        _turn(attempt, (first, second))
    assert not [event for event in events if isinstance(event, AttemptFailed)]
    first.reach()
    _turn(attempt, (first, second))
    first.agent.send(AgentDied(None, 9, n=1, t=time.time()))
    _turn(attempt, (first, second))
    failure = next(event for event in events if isinstance(event, AttemptFailed)).failure
    assert (failure.node, failure.rank, failure.signal) == (first.node, None, 9)


def test_while_only_lost_peers_are_known_the_verdict_waits_longer_for_a_silent_node(
    pair, monkeypatch
):
    """On a busy machine a dead agent is found late, and its peers' errors name no cause."""
    monkeypatch.setattr(verdict, "DOUBT_S", 0.0)
    attempt, events, (first, second) = pair
    lost_peer = ("ConnectionError: the scheduler is gone",)
    death = Death(second.node, time.time(), rank=2, exit_code=1, last_lines=lost_peer)
    second.agent.send(Died(death, n=1, t=death.time_s))
    _turn(attempt, (first, second))
    second.agent.send(Pong(t=time.time()))
    _turn(attempt, (first, second))
    assert not [event for event in events if isinstance(event, AttemptFailed)]
    first.agent.send(AgentDied(None, 9, n=1, t=time.time()))
    _turn(attempt, (first, second))
    failure = next(event for event in events if isinstance(event, AttemptFailed)).failure
    assert failure.node == first.node


def test_the_verdict_does_not_wait_when_all_nodes_have_answered(pair):
    attempt, events, (first, second) = pair
    second.agent.send(_rank_died(second.node, time.time()))
    _turn(attempt, (first, second))
    for node in (first, second):
        node.agent.send(Pong(t=time.time()))
    _turn(attempt, (first, second))
    failure = next(event for event in events if isinstance(event, AttemptFailed)).failure
    assert failure.rank == 2


@pytest.mark.parametrize("is_away", [False, True])
def test_the_time_in_which_the_supervisor_did_not_run_is_no_silence_of_a_node(
    pair, monkeypatch, is_away
):
    """A virtual machine that was paused, say: the answers have come, and nobody has read them."""
    attempt, events, (first, second) = pair
    for node in (first, second):
        node.agent.send(Pong(t=time.time()))
    _turn(attempt, (first, second))
    if is_away:
        first.lose()
        _turn(attempt, (first, second))
    runs = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: runs() + 3600)
    attempt.turn()
    assert not events


@pytest.mark.parametrize("turn_s", [0.01, 2.0])
def test_a_node_that_does_not_answer_is_unreachable_however_slow_the_turns_are(
    pair, monkeypatch: pytest.MonkeyPatch, turn_s: float
):
    monkeypatch.setattr(agent_links, "AWAY_S", 1.0)
    attempt, events, nodes = pair
    _turn(attempt, nodes)
    for node in nodes:
        node.is_connecting = True
    runs, passed = time.monotonic, itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: runs() + next(passed) * turn_s)
    for _ in range(10_000):
        if not events:
            attempt.turn()
    assert isinstance(events[0], NodeUnreachable)


@pytest.mark.parametrize("seen", [{(1, "alpha"): 3}])
def test_a_death_before_the_newest_event_is_known_to_the_next_supervisor(pair):
    """The one before got the death, recorded what came after it, and was killed."""
    attempt, events, nodes = pair
    first, second = nodes
    for report in (
        RankExited(1, 0, first.node, exit_code=1, n=1),
        replace(_rank_died(first.node, 5.0), n=2),
        RankExited(1, 1, first.node, exit_code=0, n=3),
        NodeEnded(n=4),
    ):
        first.agent.send(report)
    second.agent.send(NodeEnded(n=4))
    _turn(attempt, nodes)
    assert [type(event) for event in events] == [AttemptFailed]
    assert events[0].failure.node == first.node


def test_ranks_of_other_nodes_follow_a_dead_agent_and_its_own_do_not():
    agent = Death("a", 10.0, role=AGENT, signal=9, kind=FailureKind.NODE, meaning="agent")
    far = Death("b", 9.8, rank=2, exit_code=1, last_lines=("ValueError: no peer",))
    near = Death("a", 9.8, rank=0, exit_code=1, last_lines=("ValueError: bad",))
    long_before = Death("b", 5.0, rank=2, exit_code=1, last_lines=("ValueError: bad",))
    assert name_failure((far, agent)).node == "a"
    assert name_failure((near, agent)).rank == 0
    assert name_failure((long_before, agent)).rank == 2


def test_the_guard_reports_the_death_before_it_ends_the_ranks(monkeypatch):
    order = []
    monkeypatch.setattr(guard, "become_subreaper", lambda: None)
    monkeypatch.setattr(
        guard.termination, "end_all", lambda *_: order.append("ranks are ended") or ()
    )
    handlers = {n: guard.signal.getsignal(n) for n in (1, 2, 15)}
    try:
        left = guard.run_guarded("t", lambda: 3, lambda status: order.append(f"died {status}"))
    finally:
        for number, handler in handlers.items():
            guard.signal.signal(number, handler)
    assert order == ["died 768", "ranks are ended"]
    assert left == ()


def test_the_last_report_has_what_the_agent_had_not_read(tmp_path: Path):
    folder = RunPaths(tmp_path).attempt(1)
    path = folder.root / "agents/n.jsonl"
    journal = Journal(path)
    last_report.append(journal, RankStarted(1, 0, "n", 0, None, 7))
    last_report.append(journal, CheckpointWritten(1, 1, 10, "/c/a.ckpt"))
    journal.close()
    rank = folder.rank(0)
    rank.log.parent.mkdir(parents=True)
    lines = (
        "epoch: [  0/  3], step:[    9/   10], loss:[2.1/2.1], time:[20.0], lr:[0.01]",
        "checkpoint: epoch:[1], step:[10], path:[/c/a.ckpt]",
        "checkpoint: epoch:[2], step:[20], path:[/c/b.ckpt]",
    )
    rank.log.write_text("\n".join(lines) + "\n")
    last_report.write(path, folder, 1, (5,))
    found = [message for _, message in read_lines(path)]
    saved = [message["path"] for message in found if message["kind"] == "checkpoint_saved"]
    assert saved == ["/c/a.ckpt", "/c/b.ckpt"]
    assert (found[-1]["kind"], found[-1]["leftover"]) == ("node_ended", [5])
    assert rank.metrics.stat().st_size > 0
