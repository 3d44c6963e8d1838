"""From the client's snapshots to what the screens show: words and arithmetic, no files."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui.drawing.text import duration, number, size_bytes
from tui.model.run import (
    Checkpoint,
    Evaluation,
    Failure,
    HomeProfile,
    HomeRun,
    Job,
    RankRow,
    Restart,
    RunView,
    SkewData,
)

if TYPE_CHECKING:
    from launcher.client import (
        JobState,
        ProfileEntry,
        RankSnapshot,
        ResumeChoice,
        RunSnapshot,
        RunSummary,
    )


def signal_name(number: int | None) -> str | None:
    """``SIGKILL`` for 9; ``None`` stays ``None``."""
    if number is None:
        return None
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def how_it_ended(exit_code: int | None, signal: int | None) -> str:
    """``exit code 3``, ``signal SIGKILL``, or that nothing is known."""
    if signal is not None:
        return f"signal {signal_name(signal)}"
    return "no exit code is known" if exit_code is None else f"exit code {exit_code}"


def run_view(
    snapshot: RunSnapshot,
    skew: SkewData,
    checkpoints: Sequence[Checkpoint],
    progress: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> RunView:
    """The whole run; ``skew`` names the late rank, ``checkpoints`` are those on the disk.

    ``progress`` has the images done, of how many, of each running job that says it.
    """
    state = snapshot.state
    rows = _rank_rows(snapshot)
    worst, words = _worst(snapshot, skew)
    waiting = state.stop_by is not None and snapshot.status.value == "stopping"
    epoch, step = snapshot.epoch, snapshot.step
    if step == 0 and epoch and epoch == snapshot.epochs and snapshot.steps_per_epoch:
        # All is done: the last epoch is full, rather than one more begun.
        epoch, step = epoch - 1, snapshot.steps_per_epoch
    note = f"stop asked by {state.stop_by}" if waiting else ""
    if snapshot.status.value == "starting":
        note = _starting(snapshot)
    jobs = tuple(_job(job, progress.get(job.job)) for job in state.jobs)
    running = [job for job in jobs if job.state == "running"]
    low = {} if state.attempt is None else state.attempt.low_disks
    if low and not snapshot.status.is_over and not note:
        note = f"disk nearly full: {next(iter(low))}"
    if running and not note:
        note = f"{running[-1].id} {job_words(running[-1], snapshot.polled_s)}"
    return RunView(
        id=snapshot.run,
        profile=snapshot.profile,
        path=snapshot.path,
        state=snapshot.status.value,
        now=snapshot.polled_s,
        created=snapshot.created_s,
        attempt=snapshot.attempt,
        world_size=snapshot.world_size or None,
        epoch=epoch,
        epochs=snapshot.epochs,
        step=step,
        steps_per_epoch=snapshot.steps_per_epoch,
        loss=snapshot.mean_loss if snapshot.mean_loss is not None else snapshot.loss,
        images_per_s=snapshot.images_per_s,
        learning_rate=snapshot.learning_rate,
        eta_s=snapshot.eta_s,
        newest=snapshot.data_s,
        worst=words,
        worst_rank=worst,
        note=note,
        ranks=rows,
        failure=_failure(snapshot),
        checkpoints=tuple(checkpoints),
        evaluations=_evaluations(snapshot),
        jobs=jobs,
        lost_lines=state.skipped,
    )  # fmt: skip


def _evaluations(snapshot: RunSnapshot) -> tuple[Evaluation, ...]:
    # What a job's event leaves open stands in its result.
    results = {job.job: job.result or {} for job in snapshot.state.jobs}
    found = []
    for entry in snapshot.state.evals:
        result = results.get(entry.job or "", {})
        epoch, step, weights = (
            getattr(entry, name) if getattr(entry, name) is not None else result.get(name)
            for name in ("epoch", "step", "weights")
        )
        found.append(
            Evaluation(
                epoch, step, entry.loss, entry.top_1_acc, entry.top_5_acc, entry.images,
                str(weights or ""), entry.time_s,
            )
        )  # fmt: skip
    return tuple(found)


def _rank_rows(snapshot: RunSnapshot) -> tuple[RankRow, ...]:
    busy = sorted(rank.busy_ms for rank in snapshot.ranks if rank.busy_ms is not None)
    # The faster of two is the measure, as in the strip.
    typical = busy[(len(busy) - 1) // 2] if len(busy) > 1 else None
    return tuple(_rank_row(rank, snapshot, typical) for rank in snapshot.ranks)


def _unreachable(snapshot: RunSnapshot) -> Mapping[str, float]:
    """Nodes that do not answer, and since when; of a run that is over, none."""
    attempt = snapshot.state.attempt
    return {} if attempt is None or snapshot.status.is_over else attempt.unreachable


def _rank_row(rank: RankSnapshot, snapshot: RunSnapshot, typical_ms: float | None) -> RankRow:
    status = rank.status.value
    failure = snapshot.failure
    if status == "failed" and failure is not None and not rank.is_first_failure:
        status = "followed"
    elif status == "ended" and snapshot.status.value == "finished":
        status = "done"
    known = rank.busy_ms is not None and typical_ms is not None
    target = snapshot.profile and rank.device is not None
    return RankRow(
        rank=rank.rank,
        node=rank.node or "",
        device=str(rank.device) if target else "",
        state=status,
        phase=None if rank.phase is None else rank.phase.value,
        epoch=rank.epoch,
        step=None if rank.step is None else rank.step + 1,
        loss=rank.loss,
        step_time_ms=rank.step_time_ms,
        wait_ms=rank.wait_ms,
        images_per_s=rank.images_per_s,
        memory_bytes=rank.memory_bytes,
        memory_limit_bytes=rank.memory_limit_bytes,
        newest=rank.data_s,
        late_ms=(rank.busy_ms or 0.0) - (typical_ms or 0.0) if known else None,
        exit_code=rank.exit_code,
        signal=signal_name(rank.signal),
        first_to_fail=rank.is_first_failure,
        unreachable_since=_unreachable(snapshot).get(rank.node or ""),
    )


def _worst(snapshot: RunSnapshot, skew: SkewData) -> tuple[int | None, str]:
    for node, since in _unreachable(snapshot).items():
        first = next((rank.rank for rank in snapshot.ranks if rank.node == node), None)
        lasting = duration(max(snapshot.polled_s - since, 0.0))
        return first, f"node {node} does not answer for {lasting}: its figures are old"
    for rank in snapshot.ranks:
        if rank.status.value == "silent":
            silent_s = rank.silent_since_s
            lasting = "" if silent_s is None else f" for {duration(snapshot.polled_s - silent_s)}"
            phase = "" if rank.phase is None else f" in {rank.phase.value}"
            return rank.rank, f"rank {rank.rank} on {rank.node or '?'} is silent{lasting}{phase}"
    if snapshot.status.value != "running":
        return None, ""
    return skew.worst_rank, skew.words


def _failure(snapshot: RunSnapshot) -> Failure | None:
    failure = snapshot.failure
    if failure is None or snapshot.status.value not in ("failed", "failing"):
        return None
    return Failure(
        rank=failure.rank,
        node=failure.node,
        how=how_it_ended(failure.exit_code, failure.signal),
        kind=failure.kind.value,
        meaning=failure.meaning,
        try_next=failure.try_next,
        last_lines=failure.last_lines or failure.traceback,
        followers=failure.followers,
        log_offset=failure.log_offset,
        time=failure.time,
    )


def _starting(snapshot: RunSnapshot) -> str:
    """What is waited for before the first step."""
    attempt = snapshot.state.attempt
    there = sum(rank.status.value == "running" for rank in snapshot.ranks)
    words = f"{there} of {snapshot.world_size} ranks started"
    if attempt is None or attempt.resume is None:
        return words
    return f"{words}; goes on from epoch {attempt.resume.epoch} step {attempt.resume.step}"


def job_words(job: Job, now: float) -> str:
    """How far a running job is: ``128/360 images, 12 s``."""
    so_far = "runs" if job.total is None else f"{job.done}/{job.total} images"
    return so_far if job.started is None else f"{so_far}, {duration(now - job.started)}"


def _job(job: JobState, progress: tuple[int, int] | None) -> Job:
    result = job.result or {}
    path = next((str(result[key]) for key in ("file", "path", "predictions") if key in result), "")
    done, total = progress or (None, None)
    return Job(
        job.job, job.type, _job_state(job.finished_s, job.exit_code), result_words(result),
        job.exit_code, job.started_s, job.finished_s, done, total, path,
    )  # fmt: skip


def _job_state(finished_s: float | None, exit_code: int | None) -> str:
    if finished_s is None:
        return "running"
    return "done" if exit_code == 0 else "failed"


def result_words(result: Mapping[str, Any] | None) -> str:
    """What a job's result says, in one line: its figures, its path and its size."""
    if not result:
        return ""
    words = []
    for key, value in result.items():
        if key == "sha256":
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


def restart(choice: ResumeChoice, command: str) -> Restart:
    """What a resume would take, for the card."""
    why = choice.why
    if choice.skipped:
        passed = choice.skipped[0]
        why = f"passed over {passed.path.rsplit('/', 1)[-1]}: {passed.why}"
    elif choice.path is not None:
        why = ""
    return Restart(
        choice.path is not None, choice.epoch, choice.step, choice.steps_lost,
        choice.path or "", why, choice.verified, command,
    )  # fmt: skip


def home_run(summary: RunSummary) -> HomeRun:
    """A run's line."""
    return HomeRun(
        summary.run, summary.profile, summary.path, summary.status.value, summary.created_s,
        summary.data_s if summary.data_s is not None else summary.changed_s,
        summary.epoch, summary.epochs, summary.progress, summary.loss, summary.eta_s,
    )  # fmt: skip


def home_profile(entry: ProfileEntry) -> HomeProfile:
    """A profile's line, and its nodes and devices as a picture."""
    profile = entry.profile
    if profile is None:
        return HomeProfile(entry.name, entry.path, errors=entry.errors or ("it cannot be read",))
    target = profile.device_target.value
    lines = [f"{profile.start_method.value} on {target}"]
    rank = 0
    for node in profile.nodes[:32]:
        where = "this machine" if node.is_local else f"ssh {node.address}"
        lines.append(f"┌ {node.label}  {where}")
        for local in range(node.rank_count):
            last = local == node.rank_count - 1
            device = node.device(local)
            ip = f"  {device.device_ip}" if device.device_ip else ""
            lines.append(f"{'└' if last else '├'} {target} {device.device_id}  rank {rank}{ip}")
            rank += 1
    if len(profile.nodes) > 32:
        lines.append(f"… and {len(profile.nodes) - 32} nodes more")
    return HomeProfile(
        entry.name, entry.path, tuple(lines), profile.description, profile.world_size, entry.errors
    )
