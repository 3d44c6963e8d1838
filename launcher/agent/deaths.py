"""How a rank or a helper ended, as the supervisor gets it."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from launcher.agent import kernel_log
from launcher.agent.kernel_log import OomKills
from launcher.core.diagnosis.failure import Death
from launcher.core.plan.model import Plan, PlannedProcess
from launcher.core.run.events import FailureKind
from launcher.process.spawn import Exit, SpawnedProcess
from launcher.reading.log import LAST_BYTES, LogReader

LAST_LINES = 200
"""Of a log, for the cause of a death."""


def death_of(
    node: str,
    started: SpawnedProcess,
    ended: Exit,
    last_lines: tuple[str, ...],
    log_offset: int,
    oom_kills: OomKills,
    *,
    asked: bool,
) -> Death:
    process = started.process
    is_killed = ended.signal == signal.SIGKILL
    return Death(
        node=node,
        time_s=ended.time_s,
        rank=process.rank,
        role=process.role.value,
        exit_code=ended.exit_code,
        signal=ended.signal,
        asked=asked,
        is_seen=ended.is_seen,
        oom=oom_kills.has_killed if is_killed else None,
        last_lines=last_lines,
        kernel_lines=kernel_log.lines_about(started.pid) if is_killed and not asked else (),
        log=process.log,
        log_offset=log_offset,
        runs_trainer=process.is_own,
    )


def last_words(helper: PlannedProcess) -> tuple[tuple[str, ...], int]:
    """The end of the log of a process that is no rank, and where that begins."""
    lines = LogReader(Path(helper.log)).tail(LAST_LINES, LAST_BYTES).lines
    return tuple(line.text for line in lines), lines[0].offset if lines else 0


def lagging_text(ranks: Collection[int]) -> str:
    names = ", ".join(map(str, sorted(ranks)))
    return f"ranks {names} are still there long after the others were done"


def unstarted(
    plan: Plan, awaited: Iterable[PlannedProcess], importing: SpawnedProcess | None
) -> Death:
    """Of ranks that something else than the agent had to start, and did not within the limit.

    `importing`: a process that has not forked any of them.
    """
    in_order = sorted(awaited, key=lambda item: -1 if item.rank is None else item.rank)
    names = ", ".join(process.name for process in in_order)
    node, now_s, limit = plan.node.name, time.time(), f"{plan.limits.launch_s:g} s"
    kind, raise_it = FailureKind.LAUNCH, "raise [limits] launch_s in the profile"
    if importing is None:
        who = "mpirun" if plan.start_method == "mpirun" else "the process that forks the ranks"
        text = f"{who} has not started {names} on {node} within {limit} (limits.launch_s)"
        return Death(node, now_s, kind=kind, meaning=text, try_next=raise_it)
    taken_s = now_s - importing.start_time_s
    last_lines, offset = last_words(importing.process)
    return Death(
        node,
        now_s,
        kind=kind,
        meaning=f"MindSpore is still being imported on {node} after {taken_s:.0f} s"
        f" (launch_s is {limit}), for {names}",
        try_next=f"{raise_it}, or set [launch] fork = false: then each rank imports by itself",
        last_lines=last_lines,
        log=importing.process.log,
        log_offset=offset,
    )
