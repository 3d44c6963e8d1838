"""Following a run: until it is up, until it is over, and with a live picture."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launcher.cli.output.console import failure_card, hang_text, plain_table, status_text
from launcher.core.diagnosis.event_text import event_text, parsed
from launcher.core.diagnosis.words import hang_hint, hang_reason
from launcher.core.run.state import RunStatus, Silence
from launcher.core.text.figures import (
    NOT_KNOWN,
    age,
    count,
    duration,
    milliseconds,
    number,
    percent,
    size_bytes,
)
from launcher.errors import INTERRUPTED, NoAnswerError
from launcher.reading.run import RunReader
from launcher.reading.snapshot import RunSnapshot

POLL_S = 0.1
PATIENCE_S = 60.0
"""How long a command waits for a supervisor that does not answer."""
DRAW_S = 0.25
OVER = (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)
UP = (RunStatus.RUNNING, RunStatus.HUNG, RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)


def wait_until_up(reader: RunReader, console: Console | None = None) -> int:
    """Until it trains or has ended. -> exit code."""
    return _wait(reader, console, UP, "starting")


def wait_until_over(reader: RunReader, console: Console | None = None) -> int:
    """Until no process of it runs. -> 0 unless processes are left."""
    code = _wait(reader, console, OVER, "ending")
    attempt = reader.poll_state().attempt
    if attempt is not None and attempt.leftover:
        if console is not None:
            pids = ", ".join(map(str, attempt.leftover))
            console.print(
                f"processes still there: {pids}; run effnet-launch clean", style="bold red"
            )
        return 1
    return 0 if code == 1 and attempt is not None and attempt.failure is None else code


def follow(reader: RunReader, console: Console) -> int:
    """To the end of the run, with a live picture on a terminal, else with lines. -> exit code."""
    try:
        if console.is_terminal:
            _draw(reader, console)
        else:
            _print_lines(reader, console)
    except KeyboardInterrupt:
        print_how_to_attach(reader, console)
        return INTERRUPTED
    return _verdict(reader, console)


def print_how_to_attach(reader: RunReader, console: Console) -> None:
    again, what = f"effnet-launch attach {reader.run}", "run"
    if reader.info is not None and reader.info.is_watched:
        again, what = f"effnet-launch watch {shlex.quote(reader.run)}", "job"
    console.print(f"\nthe {what} continues; follow it again with: {again}")


def summary(reader: RunReader) -> dict[str, Any]:
    """The run in a few keys, for --json."""
    snapshot = reader.poll()
    keys = ("run", "path", "status", "attempt", "steps_done", "failure")
    return {key: getattr(snapshot, key) for key in keys}


def _wait(
    reader: RunReader, console: Console | None, until: tuple[RunStatus, ...], what: str
) -> int:
    try:
        if console is None:
            _wait_for(reader, until, lambda away: None)
        elif console.is_terminal:
            with console.status(f"{what} …") as status:
                _wait_for(reader, until, lambda away: status.update(f"{what} … {escape(away)}"))
        else:
            _wait_for(reader, until, lambda away: console.print(f"{what}: {escape(away)}"))
    except KeyboardInterrupt:
        if console is not None:
            print_how_to_attach(reader, console)
        return INTERRUPTED
    return _verdict(reader, console)


def _wait_for(
    reader: RunReader, until: tuple[RunStatus, ...], report: Callable[[str], object]
) -> None:
    """`report` gets what delays the run, each time that it changes.

    Raises `NoAnswerError` when the supervisor does not answer for long.
    """
    known = ""
    while True:
        attempt = reader.poll_state().attempt
        status = reader.status()
        if status in until or status is RunStatus.LOST:
            return
        if status is RunStatus.PENDING and RunStatus.RUNNING in until and reader.queue_words:
            return  # nobody waits for a queue
        away = {} if attempt is None else attempt.why_unreachable
        nodes = ", ".join(f"{node} ({why})" if why else node for node, why in away.items())
        delay = f"no answer from {nodes}" if nodes else reader.queue_words
        if reader.silence is not None:
            delay = f"no answer from {reader.silence.who}"
            _check_patience(reader.run, reader.silence)
        if delay != known:
            known = delay
            report(delay or "all answer")
        time.sleep(POLL_S)


def _check_patience(run: str, silence: Silence | None) -> None:
    """Raises `NoAnswerError`: nobody waits for a supervisor for ever."""
    if silence is not None and time.time() - silence.since_s > PATIENCE_S:
        lasting = duration(time.time() - silence.since_s)
        text = f"{silence.who} of {run} has not answered for {lasting}"
        raise NoAnswerError(text, silence.hint(run))


def _verdict(reader: RunReader, console: Console | None) -> int:
    snapshot = reader.poll()
    if console is not None:
        if snapshot.status is RunStatus.FAILED and snapshot.failure is not None:
            run = "" if snapshot.is_watched else snapshot.run
            console.print(failure_card(snapshot.failure, run))
        else:
            console.print(headline(snapshot))
            if words := snapshot.queue_words or snapshot.cause:
                console.print(Text(words))
    return 1 if snapshot.status in (RunStatus.FAILED, RunStatus.LOST) else 0


def headline(snapshot: RunSnapshot) -> Text:
    state = status_text(snapshot.status)
    if snapshot.hang is not None and snapshot.status is RunStatus.HUNG:
        state = hang_text(snapshot.hang, snapshot.polled_s)
    line = Text.assemble(state, f"  {snapshot.run}")
    if snapshot.steps_done is not None:
        total = "" if snapshot.steps_total is None else f"/{count(snapshot.steps_total)}"
        line.append(f"  {count(snapshot.steps_done)}{total} steps")
    if snapshot.attempt is not None and snapshot.attempt > 1:
        line.append(f"  attempt {snapshot.attempt}")
    return line


def _draw(reader: RunReader, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            snapshot = reader.poll()
            live.update(picture(snapshot), refresh=True)
            _check_patience(snapshot.run, snapshot.supervisor_silent)
            if _is_at_end(snapshot):
                return
            time.sleep(DRAW_S)


def _is_at_end(snapshot: RunSnapshot) -> bool:
    """A supervisor that is still there may resume a failed attempt."""
    may_resume = snapshot.status is RunStatus.FAILED and snapshot.is_supervised
    return snapshot.status in (*OVER, RunStatus.LOST) and not may_resume


def _print_lines(reader: RunReader, console: Console) -> None:
    from launcher.reading.growing import GrowingLines

    lines = GrowingLines(reader.paths.events)
    is_silent = False
    while True:
        snapshot = reader.poll()
        silence = snapshot.supervisor_silent
        if is_silent != (silence is not None):
            is_silent = not is_silent
            who = "the supervisor" if silence is None else silence.who
            console.print(f"{who} {'does not answer' if silence else 'answers again'}")
        _check_patience(snapshot.run, silence)
        for line in lines.poll()[1]:
            print_event(line, console)
        if _is_at_end(snapshot):
            return
        time.sleep(DRAW_S)


def print_event(line: bytes, console: Console) -> None:
    """One event, as a line for people."""
    event = parsed(line) or {}
    try:
        stamp = time.strftime("%H:%M:%S", time.localtime(float(event["t"])))
    except (KeyError, ValueError, TypeError, ArithmeticError, OSError):
        return
    console.print(f"{stamp} {event_text(event)}", soft_wrap=True)


def picture(snapshot: RunSnapshot, *, is_live: bool = True) -> RenderableType:
    """A line, a bar, the ranks; with `is_live` also how to quit."""
    parts: list[RenderableType] = [headline(snapshot)]
    if snapshot.queue_words:
        parts.append(Text(snapshot.queue_words, style="yellow"))
    elif snapshot.status is RunStatus.STOPPED and snapshot.cause:
        parts.append(Text(snapshot.cause))
    for job in snapshot.state.jobs:
        if job.finished_s is None:
            words = job.queue_words or ("running" if job.node is None else f"running on {job.node}")
            if not job.lost_words:
                parts.append(Text(f"{job.job}: {words}"))
                continue
            parts.append(Text(f"{job.job}: lost: {job.lost_words}", style="yellow"))
            parts.append(Text(f"  effnet-launch attach {snapshot.run}", style="yellow"))
    if snapshot.progress is not None:
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=snapshot.progress, width=40)
        epoch, step = snapshot.position
        where = f"epoch {(epoch or 0) + 1}/{count(snapshot.epochs)}"
        where += f" step {count(step)}/{count(snapshot.steps_per_epoch)}"
        eta = f"{duration(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
        grid.add_row(bar, f"{percent(snapshot.progress):>5}", where, eta)
        parts.append(grid)
        newest = f"last step {age(None if snapshot.is_stalled else snapshot.age_s)} ago"
        mean = snapshot.mean_loss
        losses = f"loss {number(snapshot.loss, 4)}"
        losses += "" if mean is None else f"  epoch mean {number(mean, 4)}"
        speed = f"{losses}  {number(snapshot.images_per_s)} images/s"
        parts.append(Text(f"{speed}  step {milliseconds(snapshot.step_time_ms)}  {newest}"))
    table = plain_table(
        "rank>", "node", "state", "phase", "step>", "loss>", "step time>", "wait>", "memory>"
    )
    for rank in snapshot.ranks[:32]:
        table.add_row(
            str(rank.rank),
            rank.node or NOT_KNOWN,
            "no answer" if rank.is_stale else rank.status.value,
            rank.phase.value if rank.phase else NOT_KNOWN,
            count(rank.steps_done),
            number(rank.loss, 4),
            milliseconds(rank.step_time_ms),
            milliseconds(rank.wait_ms),
            size_bytes(rank.memory_bytes),
            style="dim" if rank.is_stale else None,
        )
    parts.append(table)
    if snapshot.hang is not None:
        parts.append(Text(hang_reason(snapshot.hang), style="bold red"))
        parts.append(
            Text(f"  {hang_hint(snapshot.hang, '' if snapshot.is_watched else snapshot.run)}")
        )
    elif snapshot.is_stalled and not snapshot.unreachable:
        parts.append(Text(f"no step for {duration(snapshot.age_s)}", style="yellow"))
    if (silence := snapshot.supervisor_silent) is not None:
        lasting = duration(max(0.0, snapshot.polled_s - silence.since_s))
        text = f"{silence.who} has not answered for {lasting}; newest event: "
        text += f"{duration(snapshot.polled_s - (snapshot.changed_s or silence.since_s))} ago"
        parts.append(Text(f"{text}\n  {silence.hint(snapshot.run)}", style="yellow"))
    for node, since_s in snapshot.unreachable.items():
        lasting = duration(max(0.0, snapshot.polled_s - since_s))
        words = "its figures are old, its ranks may still train"
        parts.append(Text(f"node {node} has not answered for {lasting}: {words}", "yellow"))
        if why := snapshot.why_unreachable(node):
            parts.append(Text(f"  {why}", style="yellow"))
    if snapshot.shown is not None and (fewer := snapshot.shown.fewer_words):
        parts.append(Text(fewer, style="yellow"))
    for left in snapshot.state.left_out.values():
        parts.append(Text(f"{left.words}: {left.why}", style="yellow"))
        parts.append(Text(f"  {left.hint(snapshot.run)}", style="yellow"))
    if (copy := snapshot.state.copy) is not None:
        parts.append(Text(copy.words, style="yellow" if copy.why else "dim"))
        parts += [Text(f"  the newest is not: {copy.why}", style="yellow")] if copy.why else []
    attempt = snapshot.state.attempt
    if attempt is not None and not snapshot.status.is_over:
        for disk, free in attempt.low_disks.items():
            parts.append(Text(f"disk nearly full: {size_bytes(free)} free, {disk}", style="yellow"))
    if snapshot.kept is not None:
        words = f"{snapshot.kept.words}: {snapshot.kept.hint(snapshot.run)}"
        parts.append(Text(words, style="yellow"))
    if is_live:
        parts.append(Text("Ctrl-C: quit; the run continues", style="dim"))
    return Group(*parts)
