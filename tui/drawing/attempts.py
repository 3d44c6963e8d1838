"""The attempts of a run in words: how each ended, and what followed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.core.diagnosis.words import how_it_ended
from launcher.core.run.state import AttemptState, RunStatus
from launcher.core.text.figures import plural

if TYPE_CHECKING:
    from launcher.client import RunSnapshot


def end_of(attempt: AttemptState) -> str:
    """``rank 1 SIGKILL``, ``stopped``; ``lost`` when nothing wrote its end."""
    failure = attempt.failure
    if failure is None:
        return (attempt.status if attempt.status.is_over else RunStatus.LOST).value
    how = how_it_ended(failure)
    if failure.rank is not None:
        return f"rank {failure.rank} {how}"
    return f"failed: {how} {failure.node or ''}".rstrip()


def earlier_words(attempts: Sequence[AttemptState], room: int) -> str:
    """``(1: rank 1 SIGKILL · 2: stopped)`` in at most ``room`` cells: the newest of them."""
    if not attempts:
        return ""
    ends = [f"{attempt.attempt}: {end_of(attempt)}" for attempt in attempts]
    for left_out in range(len(ends)):
        text = " · ".join([*["…"][: bool(left_out)], *ends[left_out:]])
        if len(text) + 2 <= room:
            return f"({text})"
    return ""


def next_words(run: RunSnapshot) -> str:
    """What followed the attempt that is shown: from where the run was resumed."""
    later = [known for known in run.state.attempts if known.attempt > (run.attempt or 0)]
    if not later:
        return ""
    resume = later[0].resume
    if resume is None:
        return f"attempt {later[0].attempt} trained from scratch"
    lost = "" if resume.steps_lost is None else f", {plural(resume.steps_lost, 'step')} lost"
    return f"attempt {later[0].attempt} resumed from {resume.place}{lost}"
