"""What a run has come to, in words."""

from __future__ import annotations

from launcher.core.run.outcome import Outcome, outcome_of, outcome_words
from launcher.core.run.state import EvalState


def evaluation(epoch: int, top_1: float | None, weights: str | None = "ema") -> EvalState:
    return EvalState(0.0, 1, None, epoch, 10 * epoch, 1.0, top_1, 0.99, 100, weights)


def test_the_best_evaluation_counts_not_the_last() -> None:
    evals = [evaluation(1, 0.5), evaluation(2, 0.8321), evaluation(3, None), evaluation(4, 0.7)]
    found = outcome_of(2, 235.0, evals)
    assert found == Outcome(2, 235.0, 0.8321, 0.99, 2, "ema")
    assert outcome_words(found, "finished") == (
        "finished after 4 min in 2 attempts",
        "best top-1 83.21 %, top-5 99.00 %, after epoch 2 (ema weights)",
    )


def test_what_is_not_known_is_left_out() -> None:
    assert outcome_words(outcome_of(1, None, []), "stopped") == (
        "stopped", "not evaluated",
    )  # fmt: skip


def test_who_stopped_a_run_is_in_its_words() -> None:
    words, _ = outcome_words(outcome_of(1, 61.0, []), "stopped", "me@login (effnet-launch)")
    assert words == "stopped by me@login (effnet-launch) after 61 s"
