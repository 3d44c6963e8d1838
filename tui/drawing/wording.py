"""A snapshot in words: what is wrong, what it waits for, how it failed, what a resume would use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher.core.diagnosis.words import (
    export_verdict,
    hang_place,
    hang_words,
    ranks_in_words,
)
from launcher.core.profile.home import home_of
from launcher.core.text.figures import duration, number, plural, size_bytes
from launcher.core.text.terminal import clean
from tui.model.derived import job_state
from tui.model.run import RunFrame

if TYPE_CHECKING:
    from launcher.client import JobState, ProfileEntry, ResumeChoice, RunSnapshot, RunSummary
    from launcher.core.run.events import Failure
    from launcher.core.run.nodes import KeptState

WATCHED = "read-only: this job was started elsewhere"
"""Why nothing can be done with a job of another launcher."""


def followers_words(failure: Failure) -> str:
    """``ranks 0, 1 stopped because of it``."""
    return f"{ranks_in_words(failure.followers)} stopped because of it"


def fault_of(run: RunSummary, now: float) -> str:
    """Why a run of the list failed or does not advance; empty when no problem is known."""
    if run.hang is not None:
        return hang_words(run.hang, now)
    if (silence := run.supervisor_silent) is not None:
        return f"{silence.who} does not answer"
    return clean(run.queue_words or run.cause)


def worst(frame: RunFrame) -> tuple[int | None, str]:
    """The rank that needs attention and why: node unreachable, silent, no steps, late; or none."""
    snapshot = frame.snapshot
    if snapshot.is_earlier:
        return None, ""
    if (silence := snapshot.supervisor_silent) is not None:
        lasting = duration(max(snapshot.polled_s - silence.since_s, 0.0))
        return None, f"{silence.who} has not answered for {lasting}; s: stop, or kill -CONT it"
    for node, since in snapshot.unreachable.items():
        first = next((rank.rank for rank in snapshot.ranks if rank.node == node), None)
        lasting = duration(max(snapshot.polled_s - since, 0.0))
        why = snapshot.why_unreachable(node)
        why = f"; {why}" if why else ""
        return first, f"node {node} has not answered for {lasting}: its figures are old{why}"
    if snapshot.hang is not None:
        return snapshot.hang.ranks[0], hang_place(snapshot.hang)
    if snapshot.is_stalled:
        return None, f"no step for {duration(snapshot.age_s)}"
    if snapshot.status != "running":
        return None, ""
    return frame.skew.worst_rank, frame.skew.words


def run_note(snapshot: RunSnapshot) -> str:
    """Why the run was made; may be empty."""
    return "" if snapshot.info is None else snapshot.info.start.note


def without_node(words: str) -> str:
    """``worst`` in words, for narrow screens."""
    return re.sub(r" on \S+", "", words, count=1)


def activity(frame: RunFrame) -> str:
    """What else to show: who stopped it, what a start waits for, a full disk, a running job."""
    snapshot, state = frame.snapshot, frame.snapshot.state
    if snapshot.is_earlier:
        return ""
    if snapshot.queue_words:
        return snapshot.queue_words
    if snapshot.status == "starting":
        return _starting(snapshot)
    if state.stop_by is not None and snapshot.status == "stopping":
        return f"stop requested by {state.stop_by}"
    low = {} if state.attempt is None else state.attempt.low_disks
    if low and not snapshot.status.is_over:
        return f"disk nearly full: {next(iter(low))}"
    if state.copy is not None and state.copy.why and not snapshot.status.is_over:
        return f"the newest checkpoint is not copied to {state.copy.node}: {state.copy.why}"
    running = [job for job in state.jobs if job.finished_s is None]
    if running:
        return job_words(running[-1], frame)
    left = list(state.left_out.values())
    if not left:
        return ""
    fewer = "" if state.attempt is None else state.attempt.fewer_words
    words = f"{fewer}: {left[-1].words}" if fewer else left[-1].words
    return f"{words}; r takes it back once the run is stopped"


def _starting(snapshot: RunSnapshot) -> str:
    """What the run waits for before its first step."""
    attempt = snapshot.state.attempt
    there = sum(rank.status == "running" for rank in snapshot.ranks)
    words = f"{there} of {snapshot.world_size} ranks started"
    if attempt is None or attempt.resume is None:
        return words
    return f"{words}; resumes from {attempt.resume.place}"


def job_words(job: JobState, frame: RunFrame) -> str:
    """``eval 001: running, 128/360 images, 12 s``, or how it ended and its result."""
    kind = f"{job.type} {job.job.removesuffix('-' + job.type)}"
    state = job_state(job)
    if job.lost_words:
        return f"{kind}: lost: {job.lost_words}"
    if job.is_waiting:
        return f"{kind}: {job.queue_words}, {duration(frame.snapshot.polled_s - job.started_s)}"
    if state != "running":
        return f"{kind}: {state}, {result_words(job.result) or f'exit code {job.exit_code}'}"
    done = frame.progress.get(job.job)
    so_far = "" if done is None else f"{done[0]}/{done[1]} images, "
    return f"{kind}: running, {so_far}{duration(frame.snapshot.polled_s - job.started_s)}"


def is_job_bad(job: JobState) -> bool:
    """Whether it failed, or its file does not compute what the network does."""
    verdict = export_verdict(job.result or {})
    return job_state(job) == "failed" or (verdict is not None and not verdict[1])


def result_words(result: Mapping[str, Any] | None) -> str:
    """A job's result in one line: its figures, its path and its size."""
    verdict = export_verdict(result or {})
    words = [] if verdict is None else [verdict[0]]
    for key, value in (result or {}).items():
        if key == "sha256" or (verdict is not None and "difference" in key):
            continue
        if isinstance(value, str) and "/" in value:
            words.append(f"{key} {value.rsplit('/', 1)[-1]}")
        elif isinstance(value, bool) or (isinstance(value, str | int) and key != "bytes"):
            words.append(f"{key} {value}")
        elif key == "bytes" and isinstance(value, int):
            words.append(size_bytes(value))
        elif isinstance(value, float):
            words.append(f"{key} {number(value, 4)}")
    return ", ".join(words)


def restart_words(choice: ResumeChoice | None, is_replay: bool = False) -> str:
    """What a resume would use, in one line; in a replay, what the run was resumed from."""
    if choice is None:
        return "looking for a checkpoint to resume from …"
    if choice.path is None:
        return choice.why if choice.why == WATCHED else f"cannot resume: {choice.why}"
    lost = f", {plural(choice.steps_lost, 'step')} lost" if choice.steps_lost is not None else ""
    where = f"from {choice.place}"
    if is_replay:
        return f"was resumed {where}{lost}"
    words = f"resume {where}, {'verified' if choice.verified else 'not verified'}{lost}"
    if choice.skipped:
        skipped = choice.skipped[0]
        words += f"; skipped {skipped.path.rsplit('/', 1)[-1]}: {skipped.why}"
    return words


def kept_words(kept: KeptState) -> str:
    """What waits for a resume, and how to end it."""
    return f"{kept.words}; s ends {kept.them}"


def profile_lines(entry: ProfileEntry) -> list[str]:
    """A profile's nodes and devices, a line each, as a picture."""
    profile = entry.profile
    if profile is None:
        return []
    target = profile.device_target.value
    is_slurm, home = profile.start_method.value == "slurm", home_of(profile)
    verb = "submitted" if is_slurm else "supervised"
    through = "" if home is None else f", {verb} on {home.label}"
    lines = [f"{profile.start_method.value} on {target}{through}"]
    rank = 0
    for node in profile.nodes[:32]:
        where = "this machine" if node.is_local else f"ssh {node.address}"
        where = "chosen by Slurm" if is_slurm else where
        lines.append(f"┌ {node.label}  {where}")
        for local in range(node.rank_count):
            last = local == node.rank_count - 1
            device = node.device(local)
            ip = f"  {device.device_ip}" if device.device_ip else ""
            lines.append(f"{'└' if last else '├'} {target} {device.device_id}  rank {rank}{ip}")
            rank += 1
    if len(profile.nodes) > 32:
        lines.append(f"… and {len(profile.nodes) - 32} nodes more")
    return lines
