"""The jobs of a run (eval, export, infer) from their events, for `launcher.core.run.fold`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from launcher.core.run import events
from launcher.core.run.events import Event
from launcher.core.run.state import JobState, RunState


def _job_queued(state: RunState, event: events.JobQueued) -> RunState | None:
    known = _job(state, event.job)
    if known is None:
        return _with_job(
            state, replace(_job_of(event), slurm_job=event.slurm_job, queue_words=event.why)
        )
    return _with_job(state, replace(known, queue_words=event.why)) if known.is_waiting else None


def _job_started(state: RunState, event: events.JobStarted) -> RunState | None:
    known = _job(state, event.job)
    if known is not None and not known.is_waiting:
        return None
    number = "" if known is None else known.slurm_job
    return _with_job(state, replace(_job_of(event), slurm_job=number))


def _job_finished(state: RunState, event: events.JobFinished) -> RunState | None:
    if (known := _job(state, event.job)) is None:
        return None
    ended = replace(known, finished_s=event.t, exit_code=event.exit_code, result=event.result)
    return _with_job(state, ended)


def _job_of(event: events.JobQueued | events.JobStarted) -> JobState:
    return JobState(event.job, event.type, event.node, event.argv, started_s=event.t)


def _job(state: RunState, name: str) -> JobState | None:
    return next((job for job in state.jobs if job.job == name), None)


def _with_job(state: RunState, job: JobState) -> RunState:
    jobs = tuple(job if one.job == job.job else one for one in state.jobs)
    return replace(state, jobs=jobs if job in jobs else (*jobs, job))


HANDLERS: Mapping[type[Event], Callable[[RunState, Any], RunState | None]] = {
    events.JobQueued: _job_queued,
    events.JobStarted: _job_started,
    events.JobFinished: _job_finished,
}
