"""What the screens work out from a snapshot: figures and states, no words and no files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from launcher.core.text.figures import number
from tui.model.run import LIVE_STATES

if TYPE_CHECKING:
    from launcher.client import JobState, RankSnapshot, RunSnapshot, RunStatus
    from launcher.core.run.events import Failure
    from launcher.core.run.state import EvalState


def is_live(status: RunStatus) -> bool:
    """Whether something still runs, as far as is known."""
    return status in LIVE_STATES


def losses_of(snapshot: RunSnapshot) -> tuple[str, str]:
    """The newest step's, and the epoch's mean so far where it is known."""
    mean = snapshot.mean_loss
    return (
        f"loss {number(snapshot.loss, 4)}",
        "" if mean is None else f"epoch mean {number(mean, 4)}",
    )


def nodes_of(snapshot: RunSnapshot) -> tuple[str, ...]:
    """The nodes of its ranks, each once, in rank order."""
    return tuple(dict.fromkeys(rank.node or "" for rank in snapshot.ranks))


def failure_of(snapshot: RunSnapshot) -> Failure | None:
    """Why the attempt that is shown failed."""
    shown = snapshot.shown
    if shown is None or snapshot.attempt_status not in ("failed", "failing"):
        return None
    return shown.failure


def is_done(snapshot: RunSnapshot) -> bool:
    """Whether it came to an end that is no failure."""
    return not snapshot.is_earlier and snapshot.status in ("finished", "stopped")


def rank_state(rank: RankSnapshot, snapshot: RunSnapshot) -> str:
    """Its status; ``done`` in a finished run."""
    if rank.status == "ended" and snapshot.attempt_status == "finished":
        return "done"
    return rank.status.value


def evaluations(snapshot: RunSnapshot) -> tuple[EvalState, ...]:
    """All evaluations; what a job's event leaves open is taken from its result."""
    results = {job.job: job.result for job in snapshot.state.jobs if job.result}
    found = []
    for entry in snapshot.state.evals:
        result = results.get(entry.job or "", {})
        open_ = [name for name in ("epoch", "step", "weights") if getattr(entry, name) is None]
        changes = {name: result[name] for name in open_ if name in result}
        found.append(replace(entry, **changes) if changes else entry)
    return tuple(found)


def job_state(job: JobState) -> str:
    if job.lost_words:
        return "lost"
    if job.finished_s is None:
        return "waiting" if job.is_waiting else "running"
    return "done" if job.exit_code == 0 else "failed"


def job_path(job: JobState) -> str:
    """The file that it wrote, if any."""
    result = job.result or {}
    return next((str(result[key]) for key in ("file", "path", "predictions") if key in result), "")
