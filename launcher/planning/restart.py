"""Where a new attempt continues, and whether one starts automatically."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice, StartCheckpoint
from launcher.core.run.events import FailureKind
from launcher.core.run.metrics import METRIC_BYTES, unpack
from launcher.core.run.state import RunState
from launcher.core.text.codec import to_plain
from launcher.core.text.figures import plural
from launcher.errors import CheckpointError, LaunchError
from launcher.planning import checkpoint_choice
from launcher.planning.checkpoint_choice import AUTO, CheckpointQuery
from launcher.planning.replacing import Nodes
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun

SCRATCH = "scratch"
AGAIN = "again"
"""The newest checkpoint, or the beginning where there is none."""
RESUME_HELP = "auto, scratch, the path of a checkpoint, or a resume point whose file is verified"
BY_ITSELF = "by itself"
IN_VAIN = frozenset(
    {FailureKind.CONFIG, FailureKind.LAUNCH, FailureKind.LOSS, FailureKind.CHECKPOINT}
)
"""Failures that the same attempt would only repeat."""


@dataclass(frozen=True)
class Again:
    """A new attempt; `resume` is None where it starts from the beginning."""

    why: str
    resume: StartCheckpoint | None


def query_of(
    run: StoredRun,
    state: RunState,
    name: str = AUTO,
    *,
    world_size: int | None = -1,
    before: Profile | None = None,
) -> CheckpointQuery:
    """The query for `auto`, or for a checkpoint's name or path.

    `world_size`: None when it does not matter; -1: the profile's.
    """
    world_size = run.profile.logical_size if world_size == -1 else world_size
    return CheckpointQuery(name, _steps_done(run, state), world_size, before)


def resume_point(
    run: StoredRun, state: RunState, resume: str, nodes: NodePool
) -> StartCheckpoint | None:
    """The point to continue from, by a checkpoint's name or path, `auto` or `again`.

    For `again` where there is no checkpoint: what the newest attempt began with, or None. Raises
    `CheckpointError`.
    """
    name = AUTO if resume == AGAIN else resume
    choice = checkpoint_choice.fetch(run, query_of(run, state, name), nodes)
    point = _point_of(choice, choice.why)
    if point is None and resume != AGAIN:
        raise CheckpointError(
            f"{run.info.id}: {choice.why}",
            "Start a new run: effnet-launch start " + run.info.profile,
        )
    return point or _given(state)


def _given(state: RunState) -> StartCheckpoint | None:
    """What the newest attempt began with, where that is no checkpoint of this run's own."""
    point = None if state.attempt is None else state.attempt.resume
    if point is None or any(own.path == point.path for own in state.checkpoints):
        return None
    return replace(point, why="the run has saved none since it began with this one")


def verified(choice: ResumeChoice) -> str:
    """For a supervisor: a checkpoint whose sha256 was verified; `scratch` when there is none."""
    point = _point_of(choice, choice.why)
    return SCRATCH if point is None else json.dumps(to_plain(point))


def _point_of(choice: ResumeChoice, why: str) -> StartCheckpoint | None:
    if choice.path is None:
        return None
    return StartCheckpoint(choice.path, choice.epoch, choice.step, why, choice.steps_lost)


def why_not(run: StoredRun, state: RunState) -> str | None:
    """After a failure: why no attempt starts automatically; None when one may.

    Empty where the profile asks for none.
    """
    limit, failure = _limit(run, state), state.failure
    if failure is None or state.status.value != "failed" or limit == 0:
        return ""
    if failure.kind in IN_VAIN:
        return f"another attempt would fail in the same way ({failure.kind.value})"
    done = _automatic_attempts(state)
    if done >= limit:
        return f"{plural(done, 'automatic attempt')} failed, the limit is {limit}"
    return None


def may_follow(run: StoredRun, state: RunState) -> bool:
    """Whether a supervisor died before it decided about an automatic attempt."""
    return not state.gave_up and why_not(run, state) is None


def next_attempt(
    run: StoredRun, state: RunState, nodes: NodePool, changed: Nodes | None = None
) -> Again | str:
    """The automatic attempt, where `why_not` has no objection, or why there is none.

    `changed`: the nodes that it uses, where they are others than those of the last attempt.
    """
    done, limit, words = _automatic_attempts(state), _limit(run, state), ""
    away = frozenset(node for node, left in state.left_out.items() if left.answers_s is None)
    if changed is not None and changed.changes:
        run, words = replace(run, profile=changed.profile), f", {changed.words}"
        away |= {event.node for event in changed.changes if not event.is_reached}
    query = replace(query_of(run, state), away=away)
    try:
        found = checkpoint_choice.find(run, query, nodes)
        chosen = found.choice
        in_vain = _without_progress(state, chosen.saved_s)
        # Another node may succeed where this one has failed.
        if in_vain >= run.profile.retry.no_progress_limit and not words:
            return f"{plural(in_vain, 'attempt')} saved no checkpoint"
        if chosen.path is None and state.checkpoints and (skipped := _away(chosen, away)):
            return f"its checkpoints cannot be read: {skipped}"
        choice = checkpoint_choice.bring(found)
    except LaunchError as error:
        return f"no checkpoint can be used: {error}"
    why = f"{BY_ITSELF}, {done + 1} of {limit}{words}"
    point = _point_of(choice, f"{why}: {choice.why}")
    if point is None and (given := _given(state)) is not None:
        point = replace(given, why=f"{why}: {given.why}")
    if point is None:
        return Again(f"{why}, from the beginning: {choice.why}", None)
    return Again(point.why, point)


def _limit(run: StoredRun, state: RunState) -> int:
    """How many attempts start automatically after this failure."""
    retry, failure = run.profile.retry, state.failure
    is_hang = failure is not None and failure.kind is FailureKind.HANG
    return max(retry.auto_resume, 1 if is_hang and retry.on_silent == "resume" else 0)


def _away(choice: ResumeChoice, away: frozenset[str]) -> str:
    """The folders of nodes that the run has left out and that do not answer."""
    folders = (one for one in choice.skipped if one.path.partition(":")[0] in away)
    return ", ".join(f"{one.path} ({one.why})" for one in folders)


def _automatic_attempts(state: RunState) -> int:
    count = 0
    for attempt in reversed(state.attempts):
        if attempt.attempt == 1:
            break
        if attempt.resume is not None and not attempt.resume.why.startswith(BY_ITSELF):
            break
        count += 1
    return count


def _without_progress(state: RunState, saved_s: float | None) -> int:
    """Failed attempts in a row, up to the newest, that saved no checkpoint beyond their start.

    `saved_s` is when a script saved its newest, where that is all that is known.
    """
    count, others = 0, max((left.attempt for left in state.left_out.values()), default=0)
    for attempt in reversed(state.attempts):
        if attempt.attempt <= others:
            break  # it had other nodes
        began = (attempt.resume and attempt.resume.step) or 0
        saved = [c.step for c in state.checkpoints if c.attempt == attempt.attempt]
        if max(saved, default=began) > began or (saved_s or 0.0) > attempt.started_s:
            break
        count += 1
    return count


def _steps_done(run: StoredRun, state: RunState) -> int | None:
    """Steps that rank 0 has reported, or that are in events."""
    steps = [attempt.step for attempt in state.attempts if attempt.step is not None]
    known = max([*steps, *(checkpoint.step for checkpoint in state.checkpoints)], default=0)
    for attempt in state.attempts:
        path = run.paths.attempt(attempt.attempt).rank(0).metrics
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - size % METRIC_BYTES - METRIC_BYTES))
                records = unpack(file.read(METRIC_BYTES))
        except OSError:
            continue
        known = max(known, *(record.global_step + 1 for record in records), 0)
    return known or None
