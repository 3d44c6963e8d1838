"""Keeps the checkpoints of a run on a second node, beside the supervisor's own work."""

from __future__ import annotations

import re
import time
from concurrent.futures import Future

from launcher.copies.next_copy import Copied, Known, make_next
from launcher.core.profile.copies import copies_node
from launcher.core.run.events import CheckpointCopied, CheckpointNotCopied
from launcher.errors import LaunchError
from launcher.process.in_thread import in_thread
from launcher.process.log import log_line
from launcher.remote.node_client import NodePool
from launcher.store.event_log import EventLog
from launcher.store.run import StoredRun

RETRY_S = 30.0
"""After a failure, when nothing new was saved."""
LAST_S = 60.0
"""So long the last copies may take when the run is over."""


class CheckpointCopier:
    """One copy at a time, each in a thread, over connections of its own: a copy that fills a slow
    link must not delay what an agent reports.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._pool = NodePool()
        self._work: Future[Copied] | None = None
        self._node, self._attempt = "", 0
        self._seen = -1
        """How many checkpoints were saved when the work began."""
        self._has_more = False
        self._is_dirty = True
        self._damaged: frozenset[str] = frozenset()
        self._retry_at = float("inf")
        self._fault = ""
        """The one that was reported, until a copy is made again."""
        self._shared: set[str] = set()
        self._until: float | None = None

    def turn(self, run: StoredRun, *, is_training: bool) -> None:
        """Adds the event of a copy that was made, and begins the next one."""
        now, newest = time.monotonic(), self._log.state.attempt
        if is_training:
            self._until = None
        if newest is not None and newest.attempt != self._attempt:
            self._attempt = newest.attempt
            self._begin_again()
        if self._work is not None:
            if not self._work.done():
                return
            work, self._work = self._work, None
            self._finish(work, now)
        if is_training and now >= self._retry_at:
            self._has_more = True
        if not (self._has_more or self._is_new) or not (is_training or self._may_end(now)):
            return
        self._seen, self._has_more = len(self._log.state.checkpoints), False
        self._retry_at = float("inf")
        # Only now: with thousands of ranks their places take a moment.
        node = copies_node(run.profile)
        if node is None or newest is None or node.label in self._shared:
            return
        self._node = node.label
        known, pool = Known(self._damaged, self._is_dirty), self._pool
        self._work = in_thread(lambda: make_next(run, node, newest.attempt, pool, known))

    @property
    def is_busy(self) -> bool:
        """Whether a run that is over waits for its last copies."""
        return self._may_end(time.monotonic()) and (self._work is not None or self._has_more)

    def _begin_again(self) -> None:
        """An attempt may have other nodes: it does not wait for one that is lost."""
        self._work, self._pool = None, NodePool()
        self._seen, self._is_dirty = -1, True

    @property
    def _is_new(self) -> bool:
        return len(self._log.state.checkpoints) != self._seen

    def _may_end(self, now: float) -> bool:
        self._until = self._until or now + LAST_S
        return now < self._until

    def _finish(self, work: Future[Copied], now: float) -> None:
        try:
            done = work.result()
        except LaunchError as error:
            done = Copied(CheckpointNotCopied(self._attempt, self._node, str(error)))
        self._is_dirty, self._has_more = False, done.may_have_more
        if done.is_shared:
            self._shared.add(self._node)
            log_line(f"no copies of checkpoints: {self._node} sees the folder of rank 0's node")
        if done.damaged:
            self._damaged |= {done.damaged}
        if isinstance(done.event, CheckpointCopied):
            self._fault = ""
            self._log.add(done.event)
        elif done.event is not None:
            self._is_dirty = True
            self._retry_at = now + RETRY_S
            # The next file has another path, a damaged checkpoint is a fault of its own.
            fault = done.damaged or re.sub(r"'[^']*'|\d+", "", done.event.why)
            if fault != self._fault:
                self._fault = fault
                self._log.add(done.event)
