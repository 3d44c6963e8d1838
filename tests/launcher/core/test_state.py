"""Events and their fold."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.run import events as e
from launcher.core.run.events import Event, Failure, FailureKind, parse_event, to_json
from launcher.core.run.fold import apply
from launcher.core.run.state import LEGAL, RunState, RunStatus


def fold(events: Iterable[Event | None]) -> RunState:
    return reduce(apply, events, RunState())


FAILURE = Failure(FailureKind.OOM, "no memory", rank=1, node="b", signal=9, followers=(0,))


def run_of(*bodies: Event) -> RunState:
    return fold(
        dataclasses.replace(event, n=number, t=100.0 + number)
        for number, event in enumerate(bodies, 1)
    )


CREATED = e.RunCreated("r", "p", 2)
ATTEMPT = e.AttemptStarted(1, 2)
RANKS = tuple(e.RankStarted(1, rank, "n", rank, rank, 10 + rank) for rank in (0, 1))
TRAINING = e.TrainingStarted(1, 20, 45)
RUNNING = (CREATED, ATTEMPT, *RANKS, TRAINING)


def exited(rank: int, code: int | None = None, signal: int | None = None) -> Event:
    return e.RankExited(1, rank, "n", code, signal)


EVENTS_PAGE = (Path(__file__).parents[3] / "docs/reference/events.md").read_text(encoding="utf-8")


def row_of(name: str) -> set[str]:
    """The names in a row of the page."""
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", EVENTS_PAGE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize("kind", sorted(Event.kinds))
def test_every_field_of_every_event_is_on_its_page(kind: str) -> None:
    fields = {field.name for field in dataclasses.fields(Event.kinds[kind])} - {"n", "t"}
    if kind == "attempt_started":
        fields |= {field.name for field in dataclasses.fields(e.StartCheckpoint)}
    if kind == "processes_kept":
        fields |= {field.name for field in dataclasses.fields(e.KeptProcess)}
    assert row_of(kind) == fields


def test_every_field_of_a_failure_is_on_the_page() -> None:
    table = EVENTS_PAGE.split("## The fields of `failure`")[1].split("## States")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    assert named == {field.name for field in dataclasses.fields(e.Failure)}


def test_events_come_back_from_their_lines() -> None:
    resume = e.StartCheckpoint("/a b.ckpt", 1, 45, "newest", 3)
    bodies: tuple[Event, ...] = (
        *RUNNING,
        e.AttemptStarted(2, 2, resume),
        e.AttemptFailed(1, FAILURE),
        e.EvalFinished(1, None, 1, 45, 0.5, 0.9, 1.0, 360, "ema"),
        e.JobQueued("001-eval", "eval", "12", "it waits", None, ("a", "b c")),
        e.JobStarted("001-eval", "eval", "n", ("a", "b c")),
        e.JobFinished("001-eval", 0, {"top_1_acc": 0.5, "list": [1, None]}),
        e.AttemptStopped(1, 7, (3, 4)),
        e.CheckpointWritten(1, 1, 45, "/x", 5, "ab"),
        e.SupervisorStarted(7, None),
        e.ProcessesKept(1, (e.KeptProcess("n", 5, 1.5, True),), 9.5),
    )
    for number, body in enumerate(bodies, 1):
        event = dataclasses.replace(body, n=number, t=0.5)
        assert parse_event(to_json(event)) == event
        assert json.loads(to_json(event))["kind"] == event.kind


def test_what_is_kept_waits_until_ranks_of_another_attempt_start() -> None:
    kept = e.ProcessesKept(1, (e.KeptProcess("n", 5), e.KeptProcess("m", 6)), 900.0)
    failed = (*RUNNING, e.AttemptFailed(1, FAILURE), kept)
    state = run_of(*failed).kept
    assert state is not None
    assert state.what == "2 processes on 2 nodes"
    never_began = run_of(*failed, e.AttemptStarted(2, 2), e.AttemptFailed(2, FAILURE))
    assert never_began.kept == state
    again = run_of(*failed, e.AttemptStarted(2, 2), e.RankStarted(2, 0, "n", 0, 0, 20))
    assert again.kept is None
    assert run_of(*failed, e.ProcessesKept(1)).kept is None


def test_a_run_that_waits_is_in_the_job_that_begins_first() -> None:
    """A client was killed before it could write down the job, and another one submitted the run."""
    state = run_of(CREATED, e.SlurmQueued("13"), e.SlurmQueued("12"), ATTEMPT)
    assert (state.status, state.slurm_job, state.skipped) == (RunStatus.STARTING, "12", 0)


def test_a_run_that_finishes() -> None:
    state = run_of(
        *RUNNING,
        e.EpochFinished(1, 1, 2.0),
        e.CheckpointWritten(1, 1, 45, "/c", 9, "ab"),
        exited(0, 0),
        exited(1, 0),
        e.AttemptFinished(1, 900),
    )
    assert state.status is RunStatus.FINISHED
    assert state.skipped == state.gaps == 0
    attempt = state.attempt
    assert attempt is not None
    assert (attempt.status, attempt.step, attempt.epochs) == (RunStatus.FINISHED, 900, 20)
    assert [rank.exit_code for rank in attempt.ranks] == [0, 0]
    assert state.checkpoints[0].step == 45
    assert state.epochs[0].avg_loss == 2.0


def test_a_run_that_fails_and_is_resumed() -> None:
    failing = run_of(*RUNNING, exited(1, signal=9))
    assert failing.status is RunStatus.FAILING
    state = run_of(
        *RUNNING,
        exited(1, signal=9),
        exited(0, signal=15),
        e.AttemptFailed(1, FAILURE),
        e.AttemptStarted(2, 2, e.StartCheckpoint("/c", 1, 45)),
    )
    assert state.status is RunStatus.STARTING
    assert [attempt.status for attempt in state.attempts] == [RunStatus.FAILED, RunStatus.STARTING]
    assert state.attempts[0].failure == FAILURE
    assert state.failure is None


def test_a_run_that_is_stopped_does_not_fail_by_its_signals() -> None:
    state = run_of(
        *RUNNING,
        e.StopRequested("me", True),
        exited(0, 0),
        exited(1, signal=15),
        e.AttemptStopped(1, 151, ()),
    )
    assert state.status is RunStatus.STOPPED
    assert (state.stop_by, state.stop_saves) == ("me", True)


def test_a_run_that_stops_is_stopping_to_its_end() -> None:
    stopping = (*RUNNING, e.StopRequested("me", True), exited(1, signal=15))
    assert run_of(*stopping).status is RunStatus.STOPPING


def test_a_duplicate_event_counts_once() -> None:
    state = run_of(*RUNNING, e.EpochFinished(1, 1, 2.0))
    again = apply(state, e.EpochFinished(1, 1, 2.0, n=state.last_n, t=1.0))
    assert again.epochs == state.epochs
    assert again.skipped == state.skipped + 1


def test_silence_and_recovery() -> None:
    silent = run_of(*RUNNING, e.RankSilent(1, 1, "n", "data", 12.0))
    rank = silent.attempts[0].rank(1)
    assert rank is not None
    assert (rank.silent_since_s, rank.silent_phase) == (silent.changed_s - 12.0, "data")
    recovered = apply(silent, e.RankRecovered(1, 1, "n", n=silent.last_n + 1, t=200.0))
    assert recovered.attempts[0].rank(1).silent_since_s is None  # type: ignore[union-attr]


def test_illegal_events_are_counted_and_change_nothing() -> None:
    state = run_of(CREATED, ATTEMPT)
    for event in (
        None,
        dataclasses.replace(ATTEMPT, n=2, t=1.0),  # repeated
        e.RankExited(1, 5, "n", 1, n=3, t=1.0),  # no such rank
        e.AttemptStarted(1, 2, n=3, t=1.0),  # no newer attempt
        e.RunCreated("other", "p", 3, n=3, t=1.0),
        e.AttemptFinished(9, n=3, t=1.0),
        e.JobFinished("x", n=3, t=1.0),
    ):
        after = apply(state, event)
        assert after.skipped == state.skipped + 1
        assert after.status is state.status
        assert after.attempts == state.attempts
    assert apply(state, e.SupervisorStarted(4, n=9, t=1.0)).gaps == 1


def test_a_run_that_is_over_can_only_start_again() -> None:
    for status, following in LEGAL.items():
        if status.is_over:
            assert following <= {RunStatus.STARTING, RunStatus.PENDING}
    assert not LEGAL[RunStatus.FINISHED]


_SMALL = st.integers(0, 3)
_EVENT = st.sampled_from(
    [
        *RUNNING,
        ATTEMPT,
        e.AttemptStarted(2, 2),
        exited(0, 0),
        exited(1, 1),
        e.AttemptFailed(1, FAILURE),
        e.AttemptFinished(1, 1),
        e.AttemptStopped(1),
        e.StopRequested("x"),
        e.RankSilent(1, 0, "n"),
        e.RankRecovered(1, 0, "n"),
        e.JobStarted("j", "eval"),
        e.JobFinished("j", 0),
        None,
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_EVENT, _SMALL), max_size=25))
def test_the_fold_is_incremental_legal_and_never_raises(
    steps: list[tuple[Event | None, int]],
) -> None:
    events: list[Event | None] = []
    number = 0
    for event, jump in steps:
        number += jump
        events.append(None if event is None else dataclasses.replace(event, n=number, t=number))
    state = RunState()
    for event in events:
        after = apply(state, event)
        assert after.status is state.status or after.status in LEGAL[state.status]
        assert after.skipped - state.skipped in (0, 1)
        state = after
    assert state == fold(events)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(Event.kinds)),
    st.dictionaries(
        st.sampled_from(["n", "t", "attempt", "rank", "node", "failure", "resume", "leftover"]),
        _JSON,
    ),
)
def test_lines_of_any_content_never_raise(kind: str, fields: dict[str, object]) -> None:
    fold([parse_event(json.dumps({"n": 1, "t": 0, "kind": kind, **fields}))])


def test_endless_nesting_is_not_an_event() -> None:
    assert parse_event("[" * 100_000) is None
    assert parse_event('{"n": 1, "t": 1, "kind": ["run_created"]}') is None


def test_a_job_of_slurm_waits_runs_on_a_node_and_ends() -> None:
    queued = (e.JobQueued("001-eval", "eval", "12", why) for why in ("it waits", "still"))
    waiting = run_of(CREATED, *queued)
    (job,) = waiting.jobs
    assert (job.is_waiting, job.queue_words, job.slurm_job) == (True, "still", "12")
    begun = run_of(
        CREATED,
        e.JobQueued("001-eval", "eval", "12", "it waits"),
        e.JobStarted("001-eval", "eval", "n3"),
        e.JobQueued("001-eval", "eval", "12", "too late"),
    )
    (job,) = begun.jobs
    assert (job.is_waiting, job.node, job.slurm_job, begun.skipped) == (False, "n3", "12", 1)
    stopped = run_of(CREATED, e.JobQueued("1", "eval", "12", "it waits"), e.JobFinished("1", 143))
    assert not stopped.jobs[0].is_waiting
