"""`runs`, `status`, `attach`, `logs`, `events`."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli import options
from launcher.core.history.names import FIELD_NAMES
from launcher.core.text.terminal import clean, escape_json
from launcher.errors import INTERRUPTED

if TYPE_CHECKING:
    from launcher.client import LogReader, RunReader

FOLLOW_S = 0.1
WIDE = 120
"""Columns from which the list of runs has all of its own."""
NO_RUNS = "no runs yet; start one: effnet-launch start local-cpu"
MAX_SHOWN = 1 << 14
"""Characters of a log line on a terminal."""


def runs(
    limit: Annotated[int, typer.Option(help="how many; 0: all", min=0)] = 20,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="EXPR",
            help="only runs of which all words are true: state:failed, 'lr_max>=0.1',"
            " 'top1>80%', 'duration>1h', -note:test, or a part of the id or note",
        ),
    ] = "",
    sort: Annotated[
        str,
        typer.Option(
            metavar="FIELD", help=f"sort by {', '.join(FIELD_NAMES)} or a configuration key"
        ),
    ] = "",
    reverse: Annotated[bool, typer.Option("--reverse", help="in the opposite order")] = False,
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """List the runs of this machine: live ones first, then the newest first.

    effnet-launch runs

    effnet-launch runs --filter 'state:failed lr_max>=0.1' --sort top1

    effnet-launch runs --json --limit 0
    """
    from launcher import client
    from launcher.cli.output.console import (
        hang_text,
        plain_table,
        print_json,
        printable,
        screen,
        status_text,
    )
    from launcher.core.history.filter import chosen
    from launcher.core.text.figures import NOT_KNOWN, accuracy, count, duration, number, percent

    every = client.list_runs()
    found = chosen(every, filter_, sort, reverse=reverse, now_s=time.time()) if every else []
    found = found[:limit] if limit > 0 else found
    if as_json:
        print_json(found)
        return
    console = screen()
    is_wide = console.width >= WIDE
    first, more = ("run", "status"), ("ranks>", "attempt>", "steps>")
    last = ("done>", "loss>", "top-1>", "took>", "good>", "left>")
    words = [" · ".join(filter(None, (run.queue_words, run.cause, run.note))) for run in found]
    if is_wide:
        table = plain_table(*first, *more, *last, "cause and note*")
    else:
        table = plain_table(*first, *last)
    for run, why in zip(found, words, strict=True):
        counts = (str(run.world_size), count(run.attempt), count(run.steps_done))
        table.add_row(
            run.run,
            status_text(run.status),
            *(counts if is_wide else ()),
            percent(run.progress),
            number(run.loss, 4),
            accuracy(run.best_top_1),
            duration(run.duration_s),
            percent(run.goodput),
            duration(run.eta_s) if run.is_living else NOT_KNOWN,
            *((printable(why),) if is_wide else ()),
        )
    for run in found:
        if run.hang is not None and run.status == "hung":
            console.print(hang_text(run.hang, time.time()).append(f": {run.run}"))
    nothing = f"none of the {len(every)} runs matches" if every else NO_RUNS
    console.print(table if found else nothing)
    for run, why in zip(found, words, strict=True):
        if why and not is_wide:
            console.print(f"{run.run}: {printable(why)}")
        if (silence := run.supervisor_silent) is not None:
            console.print(f"{run.run}: {silence.who} does not answer. {silence.hint(run.run)}")


def status(
    run: Annotated[str, options.RUN] = "latest",
    as_json: Annotated[bool, options.JSON] = False,
) -> None:
    """Show one run: its ranks, its progress, and why it failed.

    effnet-launch status

    effnet-launch status local-cpu-20260102 --json
    """
    from launcher import client
    from launcher.cli.output import follow
    from launcher.cli.output.console import failure_card, print_json, printable, screen
    from launcher.core.run.outcome import outcome_words
    from launcher.core.text.codec import to_plain

    reader = open_to_read(run)
    reader.wait_for_answer()
    snapshot = reader.poll()
    goodput, late_ranks = reader.goodput(), client.late_ranks_of(reader)
    if as_json:
        values = to_plain(replace(snapshot, goodput=goodput, late_ranks=late_ranks))
        print_json({**values, "summary": snapshot.outcome})
        return
    console = screen()
    console.print(follow.picture(snapshot, is_live=False))
    if snapshot.status.is_over:
        status = snapshot.status.value
        for words in outcome_words(snapshot.outcome, status, snapshot.stopped_by):
            console.print(printable(words))
    if snapshot.info is not None and snapshot.info.start.note:
        console.print(f"note: {printable(snapshot.info.start.note)}")
    if goodput.share is not None:
        console.print("; ".join((goodput.words, *goodput.notes)))
    for late in late_ranks:
        console.print(printable(late.words), style="yellow")
    if snapshot.failure is not None:
        console.print(failure_card(snapshot.failure, snapshot.run))


def attach(run: Annotated[str, options.RUN] = "latest") -> None:
    """Follow a run to its end; the run continues after Ctrl-C.

    Replaces what has died: its supervisor, and the process that follows an evaluation, say.

    effnet-launch attach
    """
    from launcher import client
    from launcher.cli.output import follow
    from launcher.cli.output.console import errors, screen
    from launcher.errors import LaunchError, NotMineError

    reader = client.open_run(run)
    try:
        if client.connect(reader):
            errors().print("its supervisor had died; a new one was started", style="yellow")
    except LaunchError as error:
        if reader.link() is None or isinstance(error, NotMineError):
            raise
        errors().print(error.summary, style="yellow")  # what is there can be followed
    try:
        for job in client.follow_jobs(reader):
            errors().print(f"{job}: nothing followed it any more; that is repaired", style="yellow")
    except LaunchError as error:  # the training can be followed without its jobs
        errors().print(f"its jobs are not followed: {error.summary}", style="yellow")
    raise typer.Exit(follow.follow(reader, screen()))


def logs(
    run: Annotated[str, options.RUN] = "latest",
    rank: Annotated[int, typer.Option("--rank", "-r", help="which rank", min=0)] = 0,
    attempt: Annotated[int, typer.Option(help="which attempt, from 1; 0: the newest", min=0)] = 0,
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="how many of the last lines", min=1)
    ] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="print new lines as they come")
    ] = False,
    grep: Annotated[str, typer.Option(help="only lines that match this regular expression")] = "",
    scheduler: Annotated[bool, typer.Option("--scheduler", help="the scheduler's log")] = False,
    supervisor: Annotated[bool, typer.Option("--supervisor", help="the supervisor's log")] = False,
    job: Annotated[str, typer.Option(help="the log of this job")] = "",
) -> None:
    """Print a rank's log; with --grep all of it is searched.

    effnet-launch logs --rank 1 --follow

    effnet-launch logs latest --grep 'checkpoint:|fault:'
    """
    from launcher.errors import RunNotFoundError

    reader = open_to_read(run)
    world_size = reader.poll_state().world_size
    number = attempt or None
    known = [item.attempt for item in reader.state.attempts]
    if number is not None and number not in known:
        hint = f"Its attempts: {', '.join(map(str, known)) or 'none yet'}"
        raise RunNotFoundError(f"{reader.run} has no attempt {number}", hint)
    if job:
        log = reader.job_log(job)
    elif supervisor:
        log = reader.supervisor_log()
    elif scheduler:
        log = reader.scheduler_log(number)
    else:
        log = reader.log(rank, number)
        if not 0 <= rank < max(1, world_size):
            raise RunNotFoundError(f"{reader.run} has no rank {rank}")
    offset = _print_matches(log, grep) if grep else _print_tail(log, lines)
    if follow:
        try:
            _follow_log(reader, log, offset, grep)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def events(
    run: Annotated[str, options.RUN] = "latest",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="print new events as they come")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the lines of the file")] = False,
) -> None:
    """Print the events of a run: every change of its state, and who asked for it.

    effnet-launch events --follow --json
    """
    from launcher.cli.output.console import screen
    from launcher.cli.output.follow import print_event
    from launcher.client import GrowingLines

    reader = open_to_read(run)
    lines = GrowingLines(reader.paths.events)
    console = screen()
    try:
        while True:
            reader.poll_state()
            is_over = reader.status().is_over
            for line in lines.poll()[1]:
                if as_json:
                    print(escape_json(line.decode("utf-8", "replace")), flush=follow)
                else:
                    print_event(line, console)
            if not follow or is_over:
                return
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def open_to_read(run: str) -> RunReader:
    """The run; prints why what is known of it may be old. Starts nothing."""
    from launcher import client
    from launcher.cli.output.console import errors

    reader = client.open_run(run)
    reader.poll_state()
    link = reader.link()
    if link is not None and link.trouble:
        since = time.strftime("%H:%M:%S", time.localtime(link.time_s))
        text = f"{link.node} can't be reached since {since}; the data here is older: {link.trouble}"
        errors().print(text, style="yellow")
    if reader.is_abandoned():
        what = "its supervisor is gone" if link is None else "nothing updates this copy of the run"
        command = f"effnet-launch attach {shlex.quote(run)}"
        errors().print(f"{what}; to start a new one: {command}", style="yellow")
    return reader


def _print_tail(log: LogReader, count: int) -> int:
    page = log.tail(count)
    for line in page.lines:
        if line.is_whole:
            _print(line.text)
    return page.next_offset


def _print_matches(log: LogReader, pattern: str) -> int:
    offset: int | None = 0
    while offset is not None:
        found = log.search(pattern, offset, limit=1000)
        for line in found.lines:
            _print(line.text)
        offset = found.next_offset
    return log.size_bytes


def _follow_log(reader: RunReader, log: LogReader, offset: int, pattern: str) -> None:
    import re

    regex = re.compile(pattern) if pattern else None
    while True:
        reader.poll_state()
        is_over = reader.status().is_over
        while (page := log.read_from(offset)).next_offset > offset:
            for line in page.lines:
                if regex is None or regex.search(line.text):
                    _print(line.text)
            offset = page.next_offset
        sys.stdout.flush()
        if is_over:
            return
        time.sleep(FOLLOW_S)


def _print(text: str) -> None:
    if sys.stdout.isatty():
        text = clean(text)[:MAX_SHOWN]
    sys.stdout.write(text + "\n")
