"""Which failures are those of a node that Slurm has lost, and how often that is tried."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from launcher.core.run import events
from launcher.core.run.events import Failure, FailureKind
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.supervisor.slurm import lost


def after(*attempts: tuple[FailureKind, bool]) -> RunState:
    """Each attempt: how it failed on n2, and whether a rank had started."""
    story: list[events.Event] = [events.RunCreated("r", "p", 2)]
    for number, (kind, has_ranks) in enumerate(attempts, 1):
        story.append(events.AttemptStarted(number, 2))
        if has_ranks:
            story.append(events.RankStarted(number, 0, "n1", 0, None, 5, None))
        story.append(events.AttemptFailed(number, Failure(kind, "x", node="n2")))
    numbered = (replace(event, n=n, t=float(n)) for n, event in enumerate(story, 1))
    return reduce(apply, numbered, RunState())


def test_a_node_that_was_lost_before_any_rank_started_is_why_the_run_waits_again() -> None:
    why = "n2 was lost while the agents started"
    assert lost.lost_words(after((FailureKind.NODE, False)), []) == why


def test_an_agent_that_cannot_run_is_not_a_lost_node() -> None:
    assert lost.lost_words(after((FailureKind.LAUNCH, False)), ["n2"]) == ""


def test_only_attempts_in_a_row_that_started_no_rank_count() -> None:
    node = FailureKind.NODE
    assert lost.launches_in_vain(after((node, False), (node, True), (node, False))) == 1
    assert lost.launches_in_vain(after((node, False), (node, False))) == 2
