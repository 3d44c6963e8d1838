"""Nodes that a run has left out and that do not answer: what still runs there ends when they do."""

from __future__ import annotations

import selectors
from dataclasses import replace

from launcher.core.profile.model import Profile
from launcher.core.run.events import NodeLeftOut, NodeReached, NodeReplaced, NodeTakenBack
from launcher.core.run.state import RunState
from launcher.errors import LaunchError
from launcher.planning import replacing
from launcher.process.log import log_line
from launcher.remote import run_folders
from launcher.remote.node_client import NodePool
from launcher.store.event_log import EventLog
from launcher.store.owner import Owner
from launcher.store.run import StoredRun
from launcher.supervisor.agent_link import links_of
from launcher.supervisor.attempt import Attempt


def may_be_left(attempt: Attempt, profile: Profile, state: RunState) -> bool:
    """Whether an attempt has failed, and the next one can do without its nodes that are away."""
    if not attempt.is_settled:
        return False
    nodes = replacing.without_all(profile, state)
    left = set() if nodes is None else {event.node for event in nodes.changes}
    return set(attempt.absent) <= left


def compare_nodes(log: EventLog, profile: Profile) -> None:
    """Records what a resume has changed of what the run has left out."""
    left = {item.node.label: item for item in profile.left_out}
    for node in [name for name in log.state.left_out if name not in left]:
        log.add(NodeTakenBack(node))
    attempt = log.state.attempt
    number = 0 if attempt is None else attempt.attempt
    for node in [name for name in left if name not in log.state.left_out]:
        why = "no attempt has trained with it since it was taken back"
        item = left[node]
        if item.place is None:
            log.add(NodeReplaced(number, node, item.spare, why, is_reached=True))
        else:
            log.add(NodeLeftOut(number, node, why, is_reached=True))


class AbsentNodes:
    """The attempts that left nodes behind; each ends when all of its own are known to be clean."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._attempts: list[Attempt] = []

    def __bool__(self) -> bool:
        return bool(self._attempts)

    def keep(self, attempt: Attempt) -> None:
        """One that failed, where nodes are left that do not answer."""
        attempt.leave_absent()
        self._attempts.append(attempt)

    def adopt(
        self, run: StoredRun, pool: NodePool, selector: selectors.BaseSelector, owner: Owner
    ) -> None:
        """Those that the supervisor before this one has left behind."""
        away = {
            (left.attempt, node)
            for node, left in self._log.state.left_out.items()
            if left.answers_s is None
        }
        for plan, profile in run_folders.attempts_of(run):
            names = {name for number, name in away if number == plan.attempt}
            for kept in self._attempts:
                names -= set(kept.absent) if kept.number == plan.attempt else set()
            parts = tuple(node for node in plan.nodes if node.name in names)
            if not parts:
                continue
            try:
                token = owner.token_of(f"{plan.attempt:03d}")
                part = replace(plan, nodes=parts)
                links = links_of(part, pool.clients_of(profile), profile, token)
            except (LaunchError, KeyError) as error:
                log_line(f"attempt {plan.attempt}: its left-out nodes are not asked: {error}")
                continue
            attempt = Attempt(plan, self._log, links, selector, profile)
            attempt.adopt_absent()
            self._attempts.append(attempt)

    def ready(self, source: object) -> None:
        """Something arrived on a channel."""
        for attempt in self._attempts:
            attempt.ready(source)

    def turn(self) -> None:
        for attempt in self._attempts:
            before = attempt.absent
            attempt.turn()
            for node in set(before) - set(attempt.absent):
                self._is_back(attempt, node)
        for attempt in [one for one in self._attempts if one.is_over]:
            attempt.dismiss(is_last=False)  # what a later one keeps warm goes on waiting
            self._attempts.remove(attempt)

    def _is_back(self, attempt: Attempt, node: str) -> None:
        """A node without an agent, as after a power cut, reports nothing itself."""
        left = self._log.state.left_out.get(node)
        if left is not None and left.answers_s is None and attempt.was_reached(node):
            self._log.add(NodeReached(attempt.number, node))
