"""What a run has come to, in figures and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.run.state import EvalState
from launcher.core.text.figures import accuracy, duration, plural


@dataclass(frozen=True)
class Outcome:
    """``best_*`` are of the evaluation with the highest top-1 accuracy, 0 to 1; ``best_epoch`` is
    how many epochs were done by then."""

    attempts: int
    duration_s: float | None
    best_top_1: float | None = None
    best_top_5: float | None = None
    best_epoch: int | None = None
    best_weights: str | None = None


def outcome_of(attempts: int, duration_s: float | None, evals: Sequence[EvalState]) -> Outcome:
    """``duration_s`` is the time of all attempts."""
    known = [entry for entry in evals if entry.top_1_acc is not None]
    if not known:
        return Outcome(attempts, duration_s)
    best = max(known, key=lambda entry: entry.top_1_acc or 0.0)
    return Outcome(
        attempts, duration_s, best.top_1_acc, best.top_5_acc, best.epoch, best.weights
    )  # fmt: skip


def outcome_words(outcome: Outcome, status: str, by: str | None = None) -> tuple[str, str]:
    """How it ended, by whom and after how long; its best evaluation."""
    ended = f"{status} by {by}" if by else status
    if outcome.duration_s is not None:
        ended += f" after {duration(outcome.duration_s)}"
    if outcome.attempts > 1:
        ended += f" in {plural(outcome.attempts, 'attempt')}"
    if outcome.best_top_1 is None:
        return ended, "not evaluated"
    best = f"best top-1 {accuracy(outcome.best_top_1)}"
    if outcome.best_top_5 is not None:
        best += f", top-5 {accuracy(outcome.best_top_5)}"
    if outcome.best_epoch is not None:
        best += f", after epoch {outcome.best_epoch}"
    return ended, f"{best} ({outcome.best_weights} weights)" if outcome.best_weights else best
