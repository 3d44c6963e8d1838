"""What follows a failed attempt: an automatic one on nodes that were checked, or why there is none.

It asks nodes and copies checkpoints, so the supervisor lets it work in a thread.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from launcher.checks.preflight import Preflight
from launcher.core.checks.row import Row, RowState, blocking
from launcher.core.profile.model import StartMethod
from launcher.core.run.state import RunState
from launcher.errors import NodeError
from launcher.ipc.operations import GetFacts
from launcher.planning import replacing, restart
from launcher.planning.replacing import Nodes
from launcher.planning.restart import Again
from launcher.process.log import log_line
from launcher.remote.node_client import NodeClient, NodePool
from launcher.store.run import StoredRun

RECHECK_S = 30.0
"""How long a failed check may need to pass: what the last attempt used may not be free yet."""
AGAIN_S = 3.0
LOST = frozenset({"reachable", "host-key", "user", "python", "effnet-tui"})
"""Checks that do not pass by waiting."""


@dataclass(frozen=True)
class Decision:
    """`again`: the next attempt, or why there is none (empty: none was asked for)."""

    again: Again | str
    nodes: Nodes


class NextAttempt:
    """Decides once. `cancel` ends the waiting for checks that may still pass."""

    def __init__(self, run: StoredRun, state: RunState, pool: NodePool) -> None:
        self._run = run
        self._state = state
        self._pool = pool
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def decide(self) -> Decision:
        own = Nodes(self._run.profile)
        refused = restart.why_not(self._run, self._state)
        if refused is not None:
            return Decision(refused, own)
        # With too few spares it tries the nodes that it has: they may be back.
        nodes = replacing.without_all(self._run.profile, self._state) or own
        checked = self._checked(nodes)
        if isinstance(checked, str):
            return Decision(checked, own)
        return Decision(restart.next_attempt(self._run, self._state, self._pool, checked), checked)

    def _checked(self, nodes: Nodes) -> Nodes | str:
        """Nodes that pass the checks, without those that do not; or the checks that failed."""
        until = time.monotonic() + min(RECHECK_S, nodes.profile.limits.unreachable_s)
        while red := self._red(nodes):
            is_last = time.monotonic() >= until or self._cancelled.is_set()
            changed = self._without(nodes, red, is_last)
            if changed is not nodes:
                nodes = changed
            elif is_last:
                return f"the preflight failed: {'; '.join(_words(row) for row in red)}"
            else:
                log_line(f"a check failed, it is repeated: {_words(red[0])}")
                self._cancelled.wait(AGAIN_S)
        return nodes

    def _without(self, nodes: Nodes, red: tuple[Row, ...], is_last: bool) -> Nodes:
        """Without nodes that cannot pass any more, as far as the profile allows that."""
        attempt = 0 if self._state.attempt is None else self._state.attempt.attempt
        new = nodes.new
        for row in red:
            is_ready_to_go = is_last or row.check in LOST or row.node in new
            if not is_ready_to_go or not replacing.may_replace(nodes.profile, row.node):
                continue
            is_reached = row.check not in LOST
            why = f"its preflight failed: {_words(row)}"
            nodes = nodes.without(row.node, why, attempt, is_reached=is_reached) or nodes
        return nodes

    def _red(self, nodes: Nodes) -> tuple[Row, ...]:
        """The failed checks that the run does not ignore."""
        request = self._run.request
        # Slurm has checked the nodes of its job.
        if not request.preflight or nodes.profile.start_method is StartMethod.SLURM:
            return self._unreached(nodes)
        # Of the spares only those that are used now.
        profile = nodes.profile.model_copy(update={"spares": ()})
        checks = Preflight(
            profile, self._pool, data_path=request.data_path, settings=request.settings
        )
        return blocking(checks.run(), request.ignore)

    def _unreached(self, nodes: Nodes) -> tuple[Row, ...]:
        """A run without preflight: only whether its new spares answer."""
        clients = {
            label: client
            for label, client in self._pool.clients_of(nodes.profile).items()
            if label in nodes.new
        }
        if not clients:
            return ()
        with ThreadPoolExecutor(len(clients)) as pool:
            return tuple(filter(None, pool.map(_unreached, clients.values())))


def _unreached(client: NodeClient) -> Row | None:
    try:
        client.call(GetFacts(client.node.runs_directory))
    except NodeError as error:
        return Row("reachable", client.label, RowState.FAILED, error.message, error.hint)
    return None


def _words(row: Row) -> str:
    return f"{row.check} on {row.node}: {row.text}"
