"""How a rank or a helper ended, as the supervisor gets it."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable

from launcher.agent import kernel_log
from launcher.core.diagnosis.failure import Death
from launcher.core.plan.model import Plan, PlannedProcess
from launcher.process.spawn import Exit, SpawnedProcess


def death_of(
    node: str,
    started: SpawnedProcess,
    ended: Exit,
    last_lines: tuple[str, ...],
    log_offset: int,
    *,
    asked: bool,
    oom: bool,
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
        oom=oom,
        last_lines=last_lines,
        kernel_lines=kernel_log.lines_about(started.pid) if is_killed and not asked else (),
        log=process.log,
        log_offset=log_offset,
        runs_trainer=process.is_own,
    )


def lagging_text(ranks: Collection[int]) -> str:
    names = ", ".join(map(str, sorted(ranks)))
    return f"ranks {names} are still there long after the others were done"


def unstarted_text(plan: Plan, awaited: Iterable[PlannedProcess]) -> str:
    """Of ranks that something else than the agent had to start."""
    in_order = sorted(awaited, key=lambda item: -1 if item.rank is None else item.rank)
    names = ", ".join(process.name for process in in_order)
    is_mpirun = plan.start_method == "mpirun"
    who = "mpirun" if is_mpirun else "the process that forks the ranks"
    limit = f"within {plan.limits.launch_s:g} s (limits.launch_s)"
    return f"{who} has not started {names} on {plan.node.name} {limit}"
