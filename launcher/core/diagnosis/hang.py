"""The hang rule: find the silent rank from heartbeats.

In synchronous training one stuck rank stalls all of them, and then all look stuck. The silent rank
is the one that has not reached the all-reduce in which its peers wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from launcher.core.profile.model import Limits
from launcher.core.run.heartbeat import Heartbeat, Phase
from launcher.core.run.metrics import MetricRecord

LEARN_FROM = 20
"""Reports that the usual interval is learned from."""

STOPPED_STATES = frozenset("Tt")
"""Process states (proc(5)) of a process that a signal or a debugger stopped."""


@dataclass(frozen=True)
class RankSight:
    """One live rank as its node sees it.

    ``heartbeat`` is its newest, ``None`` before the first; ``started_s`` is when the process
    started, ``state`` its letter in proc(5), ``stopped_s`` since when it has been seen stopped.
    Times are on the node's clock; ``clock_ahead_s`` is how far that is ahead of the clock that
    judges.
    """

    rank: int
    node: str
    started_s: float
    heartbeat: Heartbeat | None = None
    state: str = ""
    clock_ahead_s: float = 0.0
    stopped_s: float | None = None
    only_prints: bool = False
    """It has no heartbeat: ``heartbeat`` is made from its log."""
    paused_s: float = 0.0
    """How long since its last heartbeat the machine did not run, or only its agent: no silence."""

    @property
    def phase(self) -> Phase:
        return Phase.INIT if self.heartbeat is None else self.heartbeat.phase

    @property
    def steps_done(self) -> int:
        return 0 if self.heartbeat is None else self.heartbeat.steps_done

    def quiet_s(self, now_s: float) -> float:
        """Since its last heartbeat, without pauses."""
        last_s = self.started_s if self.heartbeat is None else self.heartbeat.time_s
        return max(0.0, now_s - (last_s - self.clock_ahead_s) - self.paused_s)

    def stopped_for_s(self, now_s: float) -> float:
        """How long a signal or a debugger has stopped it; 0 if it runs."""
        if self.stopped_s is None or self.phase is Phase.DONE:
            return 0.0
        return max(0.0, now_s - (self.stopped_s - self.clock_ahead_s))


@dataclass(frozen=True)
class SilentRank:
    """A rank that is silent."""

    rank: int
    node: str
    phase: Phase
    silent_s: float
    why: str


def usual_interval_s(records: Sequence[MetricRecord]) -> float | None:
    """The usual time between two reports of a rank, learned; ``None`` before there are enough.

    A run's first report holds compilation, so it is left out; a report of K steps counts K times.
    """
    times = [
        record.step_time_ms * record.steps / 1000
        for record in records[1:][-LEARN_FROM:]
        if record.step_time_ms is not None
    ]
    return median(times) if len(times) >= 2 else None


def limit_s(phase: Phase, limits: Limits, interval_s: float | None) -> float | None:
    """How long a rank may stay in a phase without a heartbeat; ``None``: no limit."""
    if phase is Phase.DONE:
        return None
    if phase is Phase.INIT:
        return limits.launch_s
    if phase is Phase.COMPILE or interval_s is None:
        # Before the first steps are known, a step may hold compilation.
        return limits.compile_s
    if phase is Phase.CHECKPOINT:
        return limits.checkpoint_s
    if phase in (Phase.EVAL, Phase.EXPORT):
        return limits.eval_s
    return step_limit_s(limits, interval_s)


def step_limit_s(limits: Limits, interval_s: float | None) -> float:
    """The limit of a phase that every step has."""
    return max(limits.silent_min_s, limits.silent_steps * (interval_s or 0.0))


def silent_ranks(
    sights: Sequence[RankSight],
    now_s: float,
    limits: Limits,
    interval_s: float | None,
    *,
    sees_all: bool = True,
) -> tuple[SilentRank, ...]:
    """The ranks that are silent now.

    ``interval_s`` is the usual time between two reports. ``sees_all`` is false for a node that does
    not see the ranks of others: when all of its own wait in the all-reduce, the silent one is on
    another node.
    """
    waiting = [sight for sight in sights if sight.phase is Phase.REDUCE]
    found = []
    for sight in sights:
        allowed_s = limit_s(sight.phase, limits, interval_s)
        quiet_s = sight.quiet_s(now_s)
        held_s = sight.stopped_for_s(now_s)
        if held_s > step_limit_s(limits, interval_s):
            # A stopped process neither compiles nor evaluates, whatever its last phase was.
            allowed_s, quiet_s = step_limit_s(limits, interval_s), max(held_s, quiet_s)
        if allowed_s is None or quiet_s <= allowed_s:
            continue
        # Ignore peers that have just come or left: this rank may leave in the next moment too.
        settled = [other for other in sights if other.quiet_s(now_s) > allowed_s]
        ahead = any(other.steps_done > sight.steps_done for other in settled)
        together = sees_all and len(sights) > 1 and settled == list(sights) == waiting
        together = together and all(other.steps_done == sight.steps_done for other in sights)
        why = _why(sight, waiting, ahead, together)
        if why is not None:
            found.append(SilentRank(sight.rank, sight.node, sight.phase, quiet_s, why))
    stopped = tuple(item for item in found if "is stopped" in item.why)
    # A stopped process explains why all others wait.
    return stopped or tuple(found)


def _why(
    sight: RankSight, waiting: Sequence[RankSight], are_others_ahead: bool, are_all_together: bool
) -> str | None:
    if sight.state and sight.state in STOPPED_STATES:
        return "its process is stopped (SIGSTOP or a debugger)"
    if sight.only_prints:
        return "it prints nothing"
    if sight.phase is not Phase.REDUCE:
        peers = [other for other in waiting if other.steps_done >= sight.steps_done]
        if peers:
            who = "its peer waits" if len(peers) == 1 else f"{len(peers)} peers wait"
            return f"{who} for it in the all-reduce"
        return f"no heartbeat in {sight.phase.value}, and no peer waits for it"
    if are_others_ahead:
        return "it waits in an all-reduce that its peers have left"
    if are_all_together:
        return "all ranks wait in the same all-reduce: check the network between them"
    return None
