"""Where a new attempt continues, and whether one starts automatically."""

from __future__ import annotations

import json
from dataclasses import dataclass

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.events import FailureKind, StartCheckpoint
from launcher.core.run.metrics import METRIC_BYTES, unpack
from launcher.core.run.state import RunState
from launcher.core.text.codec import from_plain, to_plain
from launcher.core.text.figures import plural
from launcher.errors import CheckpointError, LaunchError
from launcher.planning import checkpoint_choice
from launcher.planning.checkpoint_choice import AUTO, CheckpointQuery
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun

SCRATCH = "scratch"
AGAIN = "again"
"""The newest checkpoint, or the beginning where there is none."""
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
    world_size = run.profile.world_size if world_size == -1 else world_size
    return CheckpointQuery(name, _steps_done(run, state), world_size, before)


def resume_point(
    run: StoredRun, state: RunState, resume: str, nodes: NodePool
) -> StartCheckpoint | None:
    """The point to continue from; None for `scratch`.

    `resume` is what the supervisor was started with: a checkpoint's name or path, or what
    `verified` made of one, which is not read again. Raises `CheckpointError`.
    """
    if resume == SCRATCH:
        return None
    if resume.startswith("{"):
        return from_plain(StartCheckpoint, json.loads(resume))
    name = AUTO if resume == AGAIN else resume
    choice = checkpoint_choice.fetch(run, query_of(run, state, name), nodes)
    point = _point_of(choice, choice.why)
    if point is None and resume != AGAIN:
        raise CheckpointError(
            f"{run.info.id}: {choice.why}",
            "Start a new run: effnet-launch start " + run.info.profile,
        )
    return point


def verified(choice: ResumeChoice) -> str:
    """For `resume_point`: a checkpoint whose sha256 was verified; `scratch` when there is none."""
    point = _point_of(choice, choice.why)
    return SCRATCH if point is None else json.dumps(to_plain(point))


def _point_of(choice: ResumeChoice, why: str) -> StartCheckpoint | None:
    if choice.path is None:
        return None
    return StartCheckpoint(choice.path, choice.epoch, choice.step, why, choice.steps_lost)


def next_attempt(run: StoredRun, state: RunState, nodes: NodePool) -> Again | str:
    """After a failure: the automatic attempt of the profile's policy, or why there is none.

    Empty where the profile asks for none.
    """
    retry, failure = run.profile.retry, state.failure
    resumes_hang = (
        failure is not None and failure.kind is FailureKind.HANG and retry.on_silent == "resume"
    )
    limit = max(retry.auto_resume, 1 if resumes_hang else 0)
    if failure is None or state.status.value != "failed" or limit == 0:
        return ""
    if failure.kind in IN_VAIN:
        return f"another attempt would fail in the same way ({failure.kind.value})"
    done = _automatic_attempts(state)
    if done >= limit:
        return f"{plural(done, 'automatic attempt')} failed, the limit is {limit}"
    try:
        chosen = checkpoint_choice.choose(run, query_of(run, state), nodes)
        in_vain = _without_progress(state, chosen.saved_s)
        if in_vain >= retry.no_progress_limit:
            return f"{plural(in_vain, 'attempt')} saved no checkpoint"
        choice = checkpoint_choice.fetch(run, query_of(run, state), nodes)
    except LaunchError as error:
        return f"no checkpoint can be used: {error}"
    why = f"{BY_ITSELF}, {done + 1} of {limit}"
    point = _point_of(choice, f"{why}: {choice.why}")
    if point is None:
        return Again(f"{why}, from the beginning: {choice.why}", None)
    return Again(point.why, point)


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
    count = 0
    for attempt in reversed(state.attempts):
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
