"""What a notification says about an event of a run (docs/how-to/notifications.md)."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.core.diagnosis.words import hang_hint, hang_reason, headline, meaning
from launcher.core.profile.model import NoticeKind
from launcher.core.run import events
from launcher.core.run.outcome import outcome_of, outcome_words
from launcher.core.run.state import RunState
from launcher.core.text.figures import duration, size_bytes


@dataclass(frozen=True)
class Notice:
    """One notification. ``id`` is the same whenever the same event is reported again."""

    id: str
    run: str
    kind: NoticeKind
    title: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def notice_of(event: events.Event, before: RunState, after: RunState) -> Notice | None:
    """The notice about an event; ``None`` when nobody needs to be told.

    ``before`` and ``after``: the run's state without the event and with it.
    """
    found = _told(event, before, after)
    if found is None:
        return None
    kind, title, lines = found
    known = tuple(line for line in lines if line)
    return Notice(f"{after.run}#{event.n}", after.run, kind, f"{after.run}: {title}", known)


_Told = tuple[NoticeKind, str, tuple[str, ...]]


def _told(event: events.Event, before: RunState, after: RunState) -> _Told | None:
    lines: tuple[str, ...]
    run = after.run
    match event:
        case events.AttemptFailed(failure=failure):
            lines = (meaning(failure), failure.try_next, _resume(run))
            return NoticeKind.FAILED, f"FAILED, {headline(failure)}", lines
        case events.GaveUp(why=why):
            lines = (f"{why[:1].upper()}{why[1:]}.", f"See: effnet-launch status {run}")
            return NoticeKind.GAVE_UP, "gave up, no automatic attempt is left", lines
        case events.AttemptStarted(attempt=number, resume=point) if number > 1:
            start = "the beginning" if point is None else point.place
            fewer = "" if after.attempt is None else after.attempt.fewer_words
            lines = ("" if point is None else point.why, fewer and f"It {fewer}.")
            return NoticeKind.RESUMED, f"attempt {number} starts from {start}", lines
        case events.RankSilent():
            hang = after.hang
            # One notice for a hang: the ranks that wait for the first one follow it.
            if hang is None or before.hang is not None:
                return None
            lines = (hang_reason(hang), hang_hint(hang, run))
            return NoticeKind.HUNG, f"HUNG, rank {event.rank} on {event.node} is silent", lines
        case events.RankRecovered() if before.hang is not None and after.hang is None:
            after_s = "" if event.silent_s is None else f" after {duration(event.silent_s)}"
            return NoticeKind.RECOVERED, f"no rank is silent any more{after_s}", ()
        case events.NodeUnreachable(node=node, why=why):
            lines = (why, "Its ranks may still train.")
            return NoticeKind.UNREACHABLE, f"node {node} does not answer", lines
        case events.NodeReached(node=node):
            left = after.left_out.get(node)
            lines = () if left is None else ("The run continues without it.", left.hint(run))
            return NoticeKind.RECOVERED, f"node {node} answers again", lines
        case events.DiskLow(node=node, path=path, free_bytes=free):
            need = event.needed_bytes
            needed = "" if need is None else f"{size_bytes(need)} may be needed."
            title = f"{size_bytes(free)} free on {node} under {path}"
            return NoticeKind.DISK_LOW, title, (needed, f"Free space on {node}.")
        case events.DiskRecovered(node=node, path=path):
            return NoticeKind.RECOVERED, f"enough space again on {node}: {path}", ()
        case events.AttemptStopped():
            return NoticeKind.STOPPED, f"stopped{_at(event.step)}", (_by(after), _resume(run))
        case events.AttemptFinished():
            return NoticeKind.FINISHED, f"finished{_at(event.step)}", _summary(after)
    return None


def _at(step: int | None) -> str:
    return "" if step is None else f" at step {step}"


def _by(state: RunState) -> str:
    return f"By {state.stop_by}." if state.stop_by else ""


def _resume(run: str) -> str:
    return f"Resume: effnet-launch resume {run}"


def _summary(state: RunState) -> tuple[str, ...]:
    """How it ended, as the dashboard's and ``status``'s summary has it."""
    ends = [(attempt.started_s, attempt.ended_s) for attempt in state.attempts]
    took = sum(end - start for start, end in ends if end is not None)
    return outcome_words(outcome_of(len(ends), took, state.evals), state.status.value)
