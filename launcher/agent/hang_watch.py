"""Signs of life of a node's ranks, and the hang rule applied to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.agent.rank_log import RankLog
from launcher.core.diagnosis.hang import (
    STOPPED_STATES,
    RankSight,
    silent_ranks,
    usual_interval_s,
)
from launcher.core.plan.model import Plan
from launcher.core.run.events import Event, RankRecovered, RankSilent
from launcher.core.run.heartbeat import HEARTBEAT_BYTES, Heartbeat, Phase, parse_heartbeat
from launcher.process.ownership import read_process

PAUSE_S = 2.0
"""Of the time between two looks no more counts as silence: the machine was suspended, say, or its
clock set. They are a quarter of a second apart; silence is noticed where all of them are late, too.
"""
MAX_PAUSES = 100
QUIET_START_S = 10.0
"""A script counts as running after this time, when nothing that it prints says so earlier."""


class HangWatch:
    """Emits `rank_silent` and `rank_recovered`. `pids` are the ranks that live now.

    The sign of life of a rank is its heartbeat; of a script that has none, the growth of its log.
    """

    def __init__(
        self,
        plan: Plan,
        pids: Callable[[], Mapping[int, int]],
        emit: Callable[[Event], None],
    ) -> None:
        self._plan = plan
        self._pids = pids
        self._emit = emit
        self._silent: dict[int, float] = {}
        self._beats: dict[int, Heartbeat] = {}
        self._started_s: dict[int, float] = {}
        self._stopped_s: dict[int, float] = {}
        self._looked_s: float | None = None
        self._pauses: list[tuple[float, float]] = []
        """(when it was over, how long it was), the newest last."""
        self._files: dict[int, str] = {
            process.rank: process.heartbeat
            for process in plan.ranks
            if process.rank is not None and process.heartbeat
        }

    def reads_stop_file(self) -> bool:
        """Whether the ranks can see a stop request: the trainer, and scripts with its reporter.

        It reads the heartbeats again: a stop may come before the first `look` that finds one.
        """
        for rank in self._files:
            if self._beats:
                break
            self._read(rank)
        return self._plan.runs_trainer or bool(self._beats)

    def look(self, now_s: float, logs: Mapping[int, RankLog]) -> None:
        """Reads all heartbeats and applies the rule. `now_s` is Unix time."""
        sights = []
        self._note_pause(now_s)
        for rank, pid in self._pids().items():
            self._read(rank)
            process = read_process(pid)
            state = process.state if process else ""
            stopped_s = None
            if state and state in STOPPED_STATES:
                stopped_s = self._stopped_s.setdefault(rank, now_s)
                stopped_s += self._paused_since(stopped_s)
            else:
                self._stopped_s.pop(rank, None)
            started_s = self._started_s.setdefault(rank, now_s)
            beat = self._beats.get(rank) or self._printed(rank, pid, logs[rank])
            sights.append(
                RankSight(
                    rank=rank,
                    node=self._plan.node.name,
                    started_s=started_s,
                    heartbeat=beat,
                    state=state,
                    stopped_s=stopped_s,
                    only_prints=rank not in self._beats and not self._plan.runs_trainer,
                    paused_s=self._paused_since(beat.time_s if beat else started_s),
                )
            )
            if rank == 0:
                self._announce(now_s, logs[rank])
        intervals = [usual_interval_s(log.recent()) for log in logs.values()]
        known = [interval for interval in intervals if interval is not None]
        found = silent_ranks(
            sights,
            now_s,
            self._plan.limits,
            max(known, default=None),
            sees_all=self._plan.has_all_ranks,
        )
        for silent in found:
            if silent.rank not in self._silent:
                self._silent[silent.rank] = now_s - silent.silent_s
                self._emit(
                    RankSilent(
                        self._plan.attempt,
                        silent.rank,
                        self._plan.node.name,
                        silent.phase.value,
                        round(silent.silent_s, 3),
                        silent.why,
                    )
                )
        self._emit_recovered({silent.rank for silent in found}, now_s)

    def _note_pause(self, now_s: float) -> None:
        """Ranks did not run in it either, or have written heartbeats that nobody has read."""
        late_s = 0.0 if self._looked_s is None else now_s - self._looked_s - PAUSE_S
        if self._looked_s is not None and now_s < self._looked_s:
            self._pauses = []  # the clock was set back: those were of another time
        self._looked_s = now_s
        if late_s > 0:
            self._pauses = [*self._pauses[1 - MAX_PAUSES :], (now_s, late_s)]

    def _paused_since(self, time_s: float) -> float:
        """Of a pause in which it lies no more than what came after it."""
        return sum(
            min(pause_s, end_s - time_s) for end_s, pause_s in self._pauses if end_s > time_s
        )

    def _printed(self, rank: int, pid: int, log: RankLog) -> Heartbeat | None:
        """What stands for the heartbeat of a script without one."""
        if self._plan.runs_trainer:
            return None
        try:
            printed_s = max(log.path.stat().st_mtime, self._started_s[rank])
        except OSError:
            return None
        phase = Phase.INIT if log.last_step is None else Phase.COMPUTE
        return Heartbeat(printed_s, phase, log.global_step or 0, 0, pid)

    def _announce(self, now_s: float, log: RankLog) -> None:
        """A script whose lines tell nothing has begun, too."""
        beat = self._beats.get(0)
        is_up = beat is not None and beat.steps_done > 0
        if self._plan.runs_trainer or not (is_up or now_s - self._started_s[0] > QUIET_START_S):
            return
        for event in log.announce():
            self._emit(event)

    def _emit_recovered(self, silent: set[int], now_s: float) -> None:
        living = self._pids()
        for rank in list(self._silent):
            if rank in silent:
                continue
            silent_s = round(now_s - self._silent.pop(rank), 3)
            if rank in living:
                plan, beat = self._plan, self._beats.get(rank)
                phase = None if beat is None else beat.phase.value
                self._emit(RankRecovered(plan.attempt, rank, plan.node.name, phase, silent_s))

    def _read(self, rank: int) -> None:
        path = self._files.get(rank)
        beat = None if path is None else read_heartbeat(path)
        if beat is not None:
            self._beats[rank] = beat


def read_heartbeat(path: str | Path) -> Heartbeat | None:
    """``None`` where there is none yet."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_heartbeat(os.pread(fd, HEARTBEAT_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(fd)
