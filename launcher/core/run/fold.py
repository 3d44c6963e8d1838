"""The fold of a run's events to its state, which never raises (docs/run-directory.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from launcher.core.run.events import (
    AttemptFailed,
    AttemptFinished,
    AttemptStarted,
    AttemptStopped,
    CheckpointWritten,
    DiskLow,
    DiskRecovered,
    EpochFinished,
    EvalFinished,
    Event,
    JobFinished,
    JobStarted,
    NodeReached,
    NodeUnreachable,
    RankExited,
    RankRecovered,
    RankSilent,
    RankStarted,
    ReportSkipped,
    RunCreated,
    StopRequested,
    SupervisorStarted,
    TrainingStarted,
)
from launcher.core.run.state import (
    LEGAL,
    AttemptState,
    CheckpointState,
    EpochState,
    EvalState,
    JobState,
    RankState,
    RunState,
    RunStatus,
)

__all__ = [
    "LEGAL",
    "AttemptState",
    "CheckpointState",
    "EpochState",
    "EvalState",
    "JobState",
    "RankState",
    "RunState",
    "RunStatus",
    "apply",
    "fold",
]


def fold(events: Iterable[Event | None]) -> RunState:
    """The state after all ``events``; ``None`` stands for a line that was no event."""
    state = RunState()
    for event in events:
        state = apply(state, event)
    return state


def apply(state: RunState, event: Event | None) -> RunState:
    """The state after one more event. Never raises: what does not fit is counted and skipped."""
    if event is None or event.n <= state.last_n:
        return replace(state, skipped=state.skipped + 1)
    numbered = replace(
        state,
        last_n=event.n,
        changed_s=event.t,
        gaps=state.gaps + (event.n != state.last_n + 1),
    )
    if isinstance(event, ReportSkipped):
        return numbered
    handler = _HANDLERS.get(type(event))
    after = None if handler is None else handler(numbered, event)
    return replace(numbered, skipped=state.skipped + 1) if after is None else after


def _move(state: RunState, status: RunStatus) -> RunState | None:
    if status is state.status and status is not RunStatus.STARTING:
        return state
    return replace(state, status=status) if status in LEGAL[state.status] else None


def _change(state: RunState, number: int, **changes: Any) -> RunState | None:
    """The state with a changed attempt; ``None`` when it is not the newest one."""
    attempt = state.attempt
    if attempt is None or attempt.attempt != number:
        return None
    return replace(state, attempts=(*state.attempts[:-1], replace(attempt, **changes)))


def _run_created(state: RunState, event: RunCreated) -> RunState | None:
    if state.run:
        return None
    return replace(
        state,
        run=event.run,
        profile=event.profile,
        world_size=event.world_size,
        created_s=event.t,
    )


def _supervisor_started(state: RunState, event: SupervisorStarted) -> RunState | None:
    return replace(state, supervisor_pid=event.pid)


def _attempt_started(state: RunState, event: AttemptStarted) -> RunState | None:
    newest = state.attempt
    if newest is not None and event.attempt <= newest.attempt:
        return None
    moved = _move(state, RunStatus.STARTING)
    if moved is None:
        return None
    attempt = AttemptState(event.attempt, event.world_size, event.t, resume=event.resume)
    return replace(
        moved,
        world_size=event.world_size,
        stop_by=None,
        stop_saves=None,
        attempts=(*state.attempts, attempt),
    )


def _rank_started(state: RunState, event: RankStarted) -> RunState | None:
    attempt = state.attempt
    if attempt is None or attempt.attempt != event.attempt:
        return None
    started = RankState(
        rank=event.rank,
        node=event.node,
        local_rank=event.local_rank,
        device=event.device,
        pid=event.pid,
        start_time=event.start_time,
        started_s=event.t,
    )
    others = [rank for rank in attempt.ranks if rank.rank != event.rank]
    ranks = tuple(sorted((*others, started), key=lambda rank: rank.rank))
    return _change(state, event.attempt, ranks=ranks)


def _training_started(state: RunState, event: TrainingStarted) -> RunState | None:
    changed = _change(
        state,
        event.attempt,
        training_s=event.t,
        epochs=event.epochs,
        steps_per_epoch=event.steps_per_epoch,
    )
    if changed is None or changed.status is not RunStatus.STARTING:
        # A stop or a failure came first: the fact stands, the state does not go back.
        return changed
    return _end(changed, RunStatus.RUNNING)


def _end(state: RunState, status: RunStatus) -> RunState | None:
    """Moves the run and its newest attempt to ``status``."""
    moved = _move(state, status)
    if moved is None or moved.attempt is None:
        return moved
    return _change(moved, moved.attempt.attempt, status=status)


def _epoch_finished(state: RunState, event: EpochFinished) -> RunState | None:
    if _change(state, event.attempt) is None:
        return None
    epoch = EpochState(event.attempt, event.epoch, event.t, event.avg_loss)
    return replace(state, epochs=(*state.epochs, epoch))


def _checkpoint_saved(state: RunState, event: CheckpointWritten) -> RunState | None:
    saved = CheckpointState(
        attempt=event.attempt,
        epoch=event.epoch,
        step=event.step,
        path=event.path,
        bytes=event.bytes,
        sha256=event.sha256,
        time_s=event.t,
    )
    return replace(state, checkpoints=(*state.checkpoints, saved))


def _eval_finished(state: RunState, event: EvalFinished) -> RunState | None:
    done = EvalState(
        time_s=event.t,
        attempt=event.attempt,
        job=event.job,
        epoch=event.epoch,
        step=event.step,
        loss=event.loss,
        top_1_acc=event.top_1_acc,
        top_5_acc=event.top_5_acc,
        images=event.images,
        weights=event.weights,
    )
    return replace(state, evals=(*state.evals, done))


def _change_rank(state: RunState, number: int, rank: int, **changes: Any) -> RunState | None:
    attempt = state.attempt
    if attempt is None or attempt.attempt != number or attempt.rank(rank) is None:
        return None
    ranks = tuple(replace(item, **changes) if item.rank == rank else item for item in attempt.ranks)
    return _change(state, number, ranks=ranks)


def _rank_silent(state: RunState, event: RankSilent) -> RunState | None:
    since_s = event.t - (event.silent_s or 0.0)
    return _change_rank(
        state, event.attempt, event.rank, silent_since_s=since_s, silent_phase=event.phase
    )


def _rank_recovered(state: RunState, event: RankRecovered) -> RunState | None:
    return _change_rank(state, event.attempt, event.rank, silent_since_s=None, silent_phase=None)


def _node_unreachable(state: RunState, event: NodeUnreachable) -> RunState | None:
    return _change_unreachable(state, event.attempt, event.node, event.t - (event.silent_s or 0.0))


def _node_reached(state: RunState, event: NodeReached) -> RunState | None:
    return _change_unreachable(state, event.attempt, event.node, None)


def _change_unreachable(
    state: RunState, number: int, node: str, since_s: float | None
) -> RunState | None:
    attempt = state.attempt
    if attempt is None:
        return None
    away = {name: time_s for name, time_s in attempt.unreachable.items() if name != node}
    if since_s is not None:
        away[node] = since_s
    return _change(state, number, unreachable=away)


def _disk_low(state: RunState, event: DiskLow) -> RunState | None:
    return _change_disk(state, event.attempt, f"{event.node}:{event.path}", event.free_bytes)


def _disk_recovered(state: RunState, event: DiskRecovered) -> RunState | None:
    return _change_disk(state, event.attempt, f"{event.node}:{event.path}", None)


def _change_disk(state: RunState, number: int, disk: str, free: int | None) -> RunState | None:
    attempt = state.attempt
    if attempt is None:
        return None
    low = {name: known for name, known in attempt.low_disks.items() if name != disk}
    if free is not None:
        low[disk] = free
    return _change(state, number, low_disks=low)


def _stop_requested(state: RunState, event: StopRequested) -> RunState | None:
    if state.status is RunStatus.FAILING:
        return replace(state, stop_by=event.by, stop_saves=event.save)
    moved = _end(state, RunStatus.STOPPING)
    return None if moved is None else replace(moved, stop_by=event.by, stop_saves=event.save)


def _rank_exited(state: RunState, event: RankExited) -> RunState | None:
    changed = _change_rank(
        state,
        event.attempt,
        event.rank,
        exited_s=event.t,
        exit_code=event.exit_code,
        signal=event.signal,
        was_done=event.was_done,
        silent_since_s=None,
        silent_phase=None,
    )
    if changed is None:
        return None
    failed = not event.was_done and (event.signal is not None or event.exit_code != 0)
    # While a run stops, ranks are ended by signals: that is no failure.
    if failed and state.status in (RunStatus.STARTING, RunStatus.RUNNING):
        return _end(changed, RunStatus.FAILING)
    return changed


def _attempt_failed(state: RunState, event: AttemptFailed) -> RunState | None:
    changed = _change(state, event.attempt, failure=event.failure, ended_s=event.t)
    return None if changed is None else _end(changed, RunStatus.FAILED)


def _attempt_stopped(state: RunState, event: AttemptStopped) -> RunState | None:
    changed = _change(
        state, event.attempt, step=event.step, ended_s=event.t, leftover=event.leftover
    )
    return None if changed is None else _end(changed, RunStatus.STOPPED)


def _attempt_finished(state: RunState, event: AttemptFinished) -> RunState | None:
    changed = _change(state, event.attempt, step=event.step, ended_s=event.t)
    return None if changed is None else _end(changed, RunStatus.FINISHED)


def _job_started(state: RunState, event: JobStarted) -> RunState | None:
    if any(job.job == event.job for job in state.jobs):
        return None
    job = JobState(event.job, event.type, event.node, event.argv, event.t)
    return replace(state, jobs=(*state.jobs, job))


def _job_finished(state: RunState, event: JobFinished) -> RunState | None:
    if not any(job.job == event.job for job in state.jobs):
        return None
    jobs = tuple(
        replace(job, finished_s=event.t, exit_code=event.exit_code, result=event.result)
        if job.job == event.job
        else job
        for job in state.jobs
    )
    return replace(state, jobs=jobs)


_HANDLERS: Mapping[type[Event], Callable[[RunState, Any], RunState | None]] = {
    RunCreated: _run_created,
    SupervisorStarted: _supervisor_started,
    AttemptStarted: _attempt_started,
    RankStarted: _rank_started,
    TrainingStarted: _training_started,
    EpochFinished: _epoch_finished,
    CheckpointWritten: _checkpoint_saved,
    EvalFinished: _eval_finished,
    RankSilent: _rank_silent,
    RankRecovered: _rank_recovered,
    NodeUnreachable: _node_unreachable,
    NodeReached: _node_reached,
    DiskLow: _disk_low,
    DiskRecovered: _disk_recovered,
    StopRequested: _stop_requested,
    RankExited: _rank_exited,
    AttemptFailed: _attempt_failed,
    AttemptStopped: _attempt_stopped,
    AttemptFinished: _attempt_finished,
    JobStarted: _job_started,
    JobFinished: _job_finished,
}
