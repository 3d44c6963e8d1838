"""Where the time of a run went: every second belongs to one class.

Computed from the events of a run and the step reports of rank 0, so that it works for old runs. A
cursor walks from the creation of the run to its end; each piece that it passes gets a class, so
the classes add up to the wall time whatever the clocks of the nodes show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median

from launcher.core.run.metrics import StepTimes
from launcher.core.run.state import AttemptState, RunState, RunStatus
from launcher.core.text.figures import duration, percent

LATE_S = 0.5
"""An event may be noted so much later than the report that follows it."""

NO_INPUT = "waiting for images is counted as compute: the trainer did not report it"
NO_TIMES = "the time of checkpoints and evaluations is that between reports"


@dataclass(frozen=True)
class Goodput:
    """Seconds of each class; ``notes`` say what an old run did not record."""

    queue_s: float = 0.0
    """Until the first attempt began."""
    launch_s: float = 0.0
    """Processes start, connect and end."""
    compile_s: float = 0.0
    compute_s: float = 0.0
    wait_s: float = 0.0
    """For peers, in the all-reduce."""
    input_s: float = 0.0
    checkpoint_s: float = 0.0
    evaluation_s: float = 0.0
    lost_s: float = 0.0
    """Steps that a later attempt repeated."""
    down_s: float = 0.0
    """After a failure: no step came until the next attempt."""
    stopped_s: float = 0.0
    """After a stop, until the next attempt."""
    notes: tuple[str, ...] = ()
    attempts: tuple[Goodput, ...] = ()
    """Of each attempt and what follows it, until the next one began; they add up to the run."""

    @property
    def wall_s(self) -> float:
        return float(sum(getattr(self, name) for name in CLASSES))

    def __sub__(self, other: Goodput) -> Goodput:
        parts = {name: getattr(self, name) - getattr(other, name) for name in CLASSES}
        return Goodput(**parts, notes=(), attempts=())

    @property
    def share(self) -> float | None:
        """The part of the time in which it computed steps that were kept."""
        return self.compute_s / self.wall_s if self.wall_s > 0 else None

    @property
    def words(self) -> str:
        """``goodput 78%: compute 5 min, compile 20 s, …``, the longest first."""
        parts = sorted(((getattr(self, name), name) for name in CLASSES), reverse=True)
        shown = [f"{name[:-2]} {duration(value)}" for value, name in parts if value >= 0.5]
        return f"goodput {percent(self.share)} of {duration(self.wall_s)}: {', '.join(shown)}"


CLASSES = tuple(field.name for field in fields(Goodput) if field.name.endswith("_s"))


@dataclass(frozen=True)
class _Pause:
    """A checkpoint or an evaluation that ended at ``time_s``; ``took_s`` may not be known."""

    kind: str
    time_s: float
    took_s: float | None


class _Account:
    """Gives the time since the last call to a class."""

    def __init__(self, start_s: float) -> None:
        self.at_s = start_s
        self.seconds = dict.fromkeys(CLASSES, 0.0)
        self.notes: set[str] = set()

    def part(self) -> Goodput:
        """So far."""
        return Goodput(**self.seconds, notes=(), attempts=())

    def to(self, time_s: float, name: str) -> None:
        if time_s > self.at_s:
            self.seconds[name] += time_s - self.at_s
            self.at_s = time_s

    def pauses(self, found: deque[_Pause], until_s: float) -> None:
        """Passes the checkpoints and evaluations that ended before ``until_s``."""
        while found:
            took_s, time_s = found[0].took_s, found[0].time_s
            is_late = took_s is not None and time_s <= until_s + LATE_S
            if time_s > until_s and not (is_late and self.at_s + (took_s or 0.0) <= until_s):
                return
            if took_s is None:
                self.notes.add(NO_TIMES)
            ended_s = time_s if took_s is None else self.at_s + took_s
            self.to(min(ended_s, until_s), found.popleft().kind)


def goodput_of(
    state: RunState, records: Mapping[int, Sequence[StepTimes]], now_s: float | None = None
) -> Goodput:
    """``records``: attempt -> the step reports of its rank 0. ``now_s``: for a run that lives."""
    attempts = state.attempts
    if state.created_s is None and not attempts:
        return Goodput()
    account = _Account(attempts[0].started_s if state.created_s is None else state.created_s)
    if not attempts:
        account.to(account.at_s if now_s is None else now_s, "queue_s")
    before = "queue_s"
    begins: list[Goodput] = []
    for number, attempt in enumerate(attempts):
        account.to(attempt.started_s, before)
        begins.append(account.part() if begins else Goodput())
        later = attempts[number + 1 :]
        reports = records.get(attempt.attempt, ())
        end_s = _end_of(attempt, reports, account.at_s, None if later else now_s)
        if later:
            end_s = min(end_s, later[0].started_s)
        starts = (item.resume.step if item.resume else 0 for item in later)
        kept = min((step for step in starts if step is not None), default=None)
        _attempt(account, state, attempt, reports, end_s, kept)
        before = "stopped_s" if attempt.status is RunStatus.STOPPED else "down_s"
    whole = account.part()
    ends = (*begins[1:], whole)
    return replace(
        whole,
        notes=tuple(sorted(account.notes)),
        attempts=tuple(end - begin for begin, end in zip(begins, ends, strict=False)),
    )


def _end_of(
    attempt: AttemptState, reports: Sequence[StepTimes], at_s: float, now_s: float | None
) -> float:
    """When it ended; of one whose end nobody wrote, its last sign."""
    if attempt.ended_s is not None:
        return attempt.ended_s
    signs = [at_s, attempt.training_s or at_s, *(report.time_s for report in reports[-1:])]
    return max(signs) if now_s is None else now_s


def _attempt(
    account: _Account,
    state: RunState,
    attempt: AttemptState,
    reports: Sequence[StepTimes],
    end_s: float,
    kept: int | None,
) -> None:
    """``kept``: the steps that no later attempt repeats; ``None`` for the newest attempt."""
    if attempt.training_s is None and not reports:
        account.to(end_s, "launch_s")
        return
    pauses = _pauses(state, attempt)
    usual_s = _usual_step_s(reports)
    inputs = _inputs(account, state, attempt, reports)
    if attempt.training_s is not None:
        account.to(min(attempt.training_s, end_s, *map(_began_s, reports[:1])), "launch_s")
    for number, report in enumerate(reports):
        until_s = min(report.time_s, end_s)
        if report.step_time_ms is not None:
            began_s = min(_began_s(report), until_s)
            account.pauses(pauses, began_s)
            account.to(began_s, "input_s" if number else "compile_s")
        if number == 0 and usual_s is not None:
            account.to(until_s - usual_s * report.steps, "compile_s")
        is_lost = kept is not None and report.global_step >= kept
        _step(account, report, until_s, pauses, inputs.get(report.epoch, 0.0), is_lost=is_lost)
    account.pauses(pauses, end_s)
    if not reports and state.hang is None:
        account.to(end_s, "compile_s")
    elif attempt.ended_s is not None:
        account.to(end_s, "launch_s" if attempt.failure is None else "down_s")
    elif state.hang is not None and kept is None:
        account.to(min(state.hang.since_s, end_s), "compute_s")
        account.to(end_s, "down_s")
    else:
        account.to(end_s, "compute_s")


def _step(
    account: _Account,
    report: StepTimes,
    until_s: float,
    pauses: deque[_Pause],
    input_share: float,
    *,
    is_lost: bool,
) -> None:
    """The window of one report: pauses in it, waiting for images and for peers, the rest."""
    while pauses and pauses[0].time_s <= until_s:
        pause = pauses.popleft()
        if pause.took_s is None:
            account.notes.add(NO_TIMES)
        else:
            account.to(min(account.at_s + pause.took_s, until_s), pause.kind)
    if is_lost:
        account.to(until_s, "lost_s")
    wait_s = 0.0 if report.wait_ms is None else report.wait_ms / 1000 * report.steps
    input_s = input_share * _window_s(report)
    account.to(min(account.at_s + wait_s, until_s), "wait_s")
    account.to(min(account.at_s + input_s, until_s), "input_s")
    account.to(until_s, "compute_s")


def _usual_step_s(reports: Sequence[StepTimes]) -> float | None:
    """Without the first, which holds compilation."""
    times = [item.step_time_ms for item in reports[1:] if item.step_time_ms is not None]
    return median(times) / 1000 if times else None


def _began_s(report: StepTimes) -> float:
    """An event may be noted later than the steps after it, which say themselves when they were."""
    return report.time_s - _window_s(report)


def _window_s(report: StepTimes) -> float:
    return (report.step_time_ms or 0.0) / 1000 * report.steps


def _inputs(
    account: _Account,
    state: RunState,
    attempt: AttemptState,
    reports: Sequence[StepTimes],
) -> dict[int, float]:
    """Epoch, from 0 -> the part of its time in which rank 0 waited for images."""
    windows_s: dict[int, float] = {}
    for report in reports:
        windows_s[report.epoch] = windows_s.get(report.epoch, 0.0) + _window_s(report)
    shares = {}
    for epoch in state.epochs:
        if epoch.attempt != attempt.attempt:
            continue
        if epoch.input_ms is None:
            account.notes.add(NO_INPUT)
        elif window_s := windows_s.get(epoch.epoch - 1):
            shares[epoch.epoch - 1] = min(1.0, epoch.input_ms / 1000 / window_s)
    return shares


def _pauses(state: RunState, attempt: AttemptState) -> deque[_Pause]:
    found = [
        _Pause("checkpoint_s", item.time_s, _seconds(item.took_ms))
        for item in state.checkpoints
        if item.attempt == attempt.attempt
    ]
    found += [
        _Pause("evaluation_s", item.time_s, _seconds(item.took_ms))
        for item in state.evals
        if item.attempt == attempt.attempt
    ]
    return deque(sorted(found, key=lambda pause: pause.time_s))


def _seconds(took_ms: float | None) -> float | None:
    return None if took_ms is None else took_ms / 1000
