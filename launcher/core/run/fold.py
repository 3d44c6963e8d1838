"""The fold of a run's events to its state, which never raises (docs/reference/events.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from launcher.core.run import events, jobs
from launcher.core.run.events import Event
from launcher.core.run.nodes import CopyState, KeptState, LeftOutNode
from launcher.core.run.state import (
    LEGAL,
    AttemptState,
    CheckpointState,
    EpochState,
    EvalState,
    RankState,
    RunState,
    RunStatus,
    StacksState,
)

S = TypeVar("S")


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
    if isinstance(event, events.ReportSkipped):
        return numbered
    if isinstance(event, events.GaveUp):
        return replace(numbered, gave_up=event.why)
    if _is_late(state, event):
        return _late(numbered, event)
    handler = _HANDLERS.get(type(event))
    after = None if handler is None else handler(numbered, event)
    return replace(numbered, skipped=state.skipped + 1) if after is None else after


def _is_late(state: RunState, event: Event) -> bool:
    """Whether it is what a left-out node reports of its last attempt, when it is back."""
    number, node = getattr(event, "attempt", None), getattr(event, "node", None)
    known = state.left_out.get(node) if isinstance(node, str) else None
    is_own = known is not None and known.attempt == number
    return is_own and state.attempt is not None and state.attempt.attempt != number


def _late(state: RunState, event: Event) -> RunState:
    """The run has gone on without the node: only whether it answers is of interest."""
    if isinstance(event, events.NodeReached):
        return _answers(state, event.node, event.t)
    if isinstance(event, events.NodeUnreachable):
        return _answers(state, event.node, None)
    return state


def _answers(state: RunState, node: str, since_s: float | None) -> RunState:
    known = state.left_out.get(node)
    if known is None:
        return state
    return replace(state, left_out={**state.left_out, node: replace(known, answers_s=since_s)})


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


def _kept(cls: type[S], event: Event, **more: Any) -> S:
    """The record with the event's values of the same names."""
    own = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return cls(**more, **{name: getattr(event, name) for name in own if hasattr(event, name)})


def _run_created(state: RunState, event: events.RunCreated) -> RunState | None:
    if state.run:
        return None
    return replace(
        state,
        run=event.run,
        profile=event.profile,
        world_size=event.world_size,
        created_s=event.t,
    )


def _supervisor_started(state: RunState, event: events.SupervisorStarted) -> RunState | None:
    return replace(state, supervisor_pid=event.pid)


def _attempt_started(state: RunState, event: events.AttemptStarted) -> RunState | None:
    newest = state.attempt
    if newest is not None and event.attempt <= newest.attempt:
        return None
    moved = _move(state, RunStatus.STARTING)
    if moved is None:
        return None
    attempt = _kept(AttemptState, event, started_s=event.t)
    return replace(
        moved,
        world_size=event.world_size,
        stop_by=None,
        stop_saves=None,
        gave_up="",
        attempts=(*state.attempts, attempt),
    )


def _slurm_queued(state: RunState, event: events.SlurmQueued) -> RunState | None:
    moved = _move(state, RunStatus.PENDING)
    if moved is None:
        return None
    return replace(moved, slurm_job=event.job, slurm_why=event.why, stop_by=None, stop_saves=None)


def _slurm_dequeued(state: RunState, event: events.SlurmDequeued) -> RunState | None:
    moved = _move(state, RunStatus.STOPPED)
    return None if moved is None else replace(moved, slurm_why=event.why)


def _rank_started(state: RunState, event: events.RankStarted) -> RunState | None:
    attempt = state.attempt
    if attempt is None or attempt.attempt != event.attempt:
        return None
    if state.kept is not None and state.kept.attempt < event.attempt:
        state = replace(state, kept=None)
    started = _kept(RankState, event, started_s=event.t)
    others = [rank for rank in attempt.ranks if rank.rank != event.rank]
    ranks = tuple(sorted((*others, started), key=lambda rank: rank.rank))
    return _change(state, event.attempt, ranks=ranks)


def _training_started(state: RunState, event: events.TrainingStarted) -> RunState | None:
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


def _end(state: RunState | None, status: RunStatus) -> RunState | None:
    """Moves the run and its newest attempt to ``status``."""
    moved = None if state is None else _move(state, status)
    if moved is None or moved.attempt is None:
        return moved
    return _change(moved, moved.attempt.attempt, status=status)


def _epoch_finished(state: RunState, event: events.EpochFinished) -> RunState | None:
    if _change(state, event.attempt) is None:
        return None
    epoch = _kept(EpochState, event, time_s=event.t)
    return replace(state, epochs=(*state.epochs, epoch))


def _checkpoint_saved(state: RunState, event: events.CheckpointWritten) -> RunState | None:
    saved = _kept(CheckpointState, event, time_s=event.t)
    return replace(state, checkpoints=(*state.checkpoints, saved))


def _checkpoint_copied(state: RunState, event: events.CheckpointCopied) -> RunState | None:
    # The newest one is copied first, older ones after it.
    known = state.copy
    place = (event.node, event.attempt)
    if known and (known.node, known.attempt) == place and (known.step or 0) > event.step:
        return replace(state, copy=replace(known, why=""))
    return replace(state, copy=_kept(CopyState, event, time_s=event.t))


def _checkpoint_not_copied(state: RunState, event: events.CheckpointNotCopied) -> RunState | None:
    known = state.copy
    if known is None or known.node != event.node:
        known = CopyState(event.node, event.attempt)
    return replace(state, copy=replace(known, why=event.why))


def _eval_finished(state: RunState, event: events.EvalFinished) -> RunState | None:
    done = _kept(EvalState, event, time_s=event.t)
    return replace(state, evals=(*state.evals, done))


def _change_rank(state: RunState, number: int, rank: int, **changes: Any) -> RunState | None:
    attempt = state.attempt
    if attempt is None or attempt.attempt != number or attempt.rank(rank) is None:
        return None
    ranks = tuple(replace(item, **changes) if item.rank == rank else item for item in attempt.ranks)
    return _change(state, number, ranks=ranks)


def _rank_silent(state: RunState, event: events.RankSilent) -> RunState | None:
    since_s = event.t - (event.silent_s or 0.0)
    return _change_rank(
        state,
        event.attempt,
        event.rank,
        silent_since_s=since_s,
        silent_phase=event.phase,
        silent_why=event.why,
    )


def _rank_recovered(state: RunState, event: events.RankRecovered) -> RunState | None:
    none = {"silent_since_s": None, "silent_phase": None, "silent_why": ""}
    return _change_rank(state, event.attempt, event.rank, **none)


def _stacks_taken(state: RunState, event: events.StacksTaken) -> RunState | None:
    return _change(state, event.attempt, stacks=_kept(StacksState, event, time_s=event.t))


def _without(known: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name != key}


def _node_unreachable(state: RunState, event: events.NodeUnreachable) -> RunState | None:
    attempt = state.attempt or AttemptState(0, 0, 0.0)
    since_s = event.t - (event.silent_s or 0.0)
    return _change(
        state,
        event.attempt,
        unreachable={**attempt.unreachable, event.node: since_s},
        why_unreachable={**attempt.why_unreachable, event.node: event.why},
    )


def _node_reached(state: RunState, event: events.NodeReached) -> RunState | None:
    attempt = state.attempt or AttemptState(0, 0, 0.0)
    return _change(
        _answers(state, event.node, event.t),
        event.attempt,
        unreachable=_without(attempt.unreachable, event.node),
        why_unreachable=_without(attempt.why_unreachable, event.node),
    )


def _node_left_out(
    state: RunState, event: events.NodeReplaced | events.NodeLeftOut
) -> RunState | None:
    attempt = state.attempt
    if attempt is None or attempt.attempt != event.attempt:
        return None
    spare = event.spare if isinstance(event, events.NodeReplaced) else ""
    answers_s = event.t if event.is_reached else None
    left = LeftOutNode(event.node, spare, event.attempt, event.why, event.t, answers_s)
    known = {
        # A spare that leaves no successor leaves none for the node that it stood for, either.
        name: replace(item, spare="") if not spare and item.spare == event.node else item
        for name, item in _without(state.left_out, event.node).items()
    }
    return replace(state, left_out={**known, event.node: left})


def _node_taken_back(state: RunState, event: events.NodeTakenBack) -> RunState | None:
    if event.node not in state.left_out:
        return None
    return replace(state, left_out=_without(state.left_out, event.node))


def _disk_low(state: RunState, event: events.DiskLow) -> RunState | None:
    known = state.attempt.low_disks if state.attempt else {}
    disk = f"{event.node}:{event.path}"
    return _change(state, event.attempt, low_disks={**known, disk: event.free_bytes})


def _disk_recovered(state: RunState, event: events.DiskRecovered) -> RunState | None:
    known = state.attempt.low_disks if state.attempt else {}
    return _change(state, event.attempt, low_disks=_without(known, f"{event.node}:{event.path}"))


def _stop_requested(state: RunState, event: events.StopRequested) -> RunState | None:
    if state.status is RunStatus.FAILING:
        return replace(state, stop_by=event.by, stop_saves=event.save)
    moved = _end(state, RunStatus.STOPPING)
    return None if moved is None else replace(moved, stop_by=event.by, stop_saves=event.save)


def _rank_exited(state: RunState, event: events.RankExited) -> RunState | None:
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


def _attempt_failed(state: RunState, event: events.AttemptFailed) -> RunState | None:
    changed = _change(state, event.attempt, failure=event.failure, ended_s=event.t)
    return _end(changed, RunStatus.FAILED)


def _processes_kept(state: RunState, event: events.ProcessesKept) -> RunState | None:
    if not event.processes or event.until_s is None:
        return replace(state, kept=None)
    return replace(state, kept=KeptState(event.attempt, event.processes, event.until_s))


def _attempt_stopped(state: RunState, event: events.AttemptStopped) -> RunState | None:
    changed = _change(
        state, event.attempt, step=event.step, ended_s=event.t, leftover=event.leftover
    )
    return _end(changed, RunStatus.STOPPED)


def _attempt_finished(state: RunState, event: events.AttemptFinished) -> RunState | None:
    changed = _change(state, event.attempt, step=event.step, ended_s=event.t)
    return _end(changed, RunStatus.FINISHED)


_HANDLERS: Mapping[type[Event], Callable[[RunState, Any], RunState | None]] = {
    events.RunCreated: _run_created,
    events.SupervisorStarted: _supervisor_started,
    events.AttemptStarted: _attempt_started,
    events.SlurmQueued: _slurm_queued,
    events.SlurmDequeued: _slurm_dequeued,
    events.RankStarted: _rank_started,
    events.TrainingStarted: _training_started,
    events.EpochFinished: _epoch_finished,
    events.CheckpointWritten: _checkpoint_saved,
    events.CheckpointCopied: _checkpoint_copied,
    events.CheckpointNotCopied: _checkpoint_not_copied,
    events.EvalFinished: _eval_finished,
    events.RankSilent: _rank_silent,
    events.RankRecovered: _rank_recovered,
    events.StacksTaken: _stacks_taken,
    events.NodeUnreachable: _node_unreachable,
    events.NodeReached: _node_reached,
    events.NodeReplaced: _node_left_out,
    events.NodeLeftOut: _node_left_out,
    events.NodeTakenBack: _node_taken_back,
    events.DiskLow: _disk_low,
    events.DiskRecovered: _disk_recovered,
    events.StopRequested: _stop_requested,
    events.RankExited: _rank_exited,
    events.AttemptFailed: _attempt_failed,
    events.ProcessesKept: _processes_kept,
    events.AttemptStopped: _attempt_stopped,
    events.AttemptFinished: _attempt_finished,
    **jobs.HANDLERS,
}
