"""One plain-text picture of a run, for scripts and CI logs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from launcher.core.diagnosis.words import hang_words, headline, meaning
from launcher.core.run.requests import ResumeRequest
from launcher.core.text.figures import age, duration, number, percent
from tui.drawing.text import clean, fit
from tui.drawing.wording import followers_words, restart_words, worst
from tui.model.derived import failure_of, is_live, losses_of
from tui.model.run import FrameRequest, RunFrame
from tui.sources.source import RunSource, SourceError
from tui.widgets.rank_columns import COLUMNS

if TYPE_CHECKING:
    from launcher.client import RunSnapshot


def picture(run: RunSource) -> str:
    """The run as lines of text, without colours and control characters."""
    frame = run.frame(FrameRequest(skew_bins=40))
    snapshot = frame.snapshot
    attempt = f", attempt {snapshot.attempt}" if snapshot.attempt else ""
    lines = [
        f"run       {clean(snapshot.run)}",
        f"state     {snapshot.status.value}{attempt}",
        f"progress  {_progress(snapshot)}",
        f"figures   {', '.join(filter(None, losses_of(snapshot)))}, "
        f"{number(snapshot.images_per_s)} images/s, "
        f"last step {age(None if snapshot.is_stalled else snapshot.age_s)} ago",
    ]
    if snapshot.hang is not None:
        lines.insert(0, f"HUNG      {hang_words(snapshot.hang, snapshot.polled_s)}")
    if words := worst(frame)[1]:
        lines.append(f"worst     {clean(words)}")
    if snapshot.ranks:
        lines += ["", *_table(frame)]
    failure = failure_of(snapshot)
    if failure is not None:
        lines += [
            "",
            f"failure   {clean(headline(failure))}",
            f"meaning   {clean(meaning(failure))}",
        ]
        if failure.followers:
            lines.append(f"          {followers_words(failure)}")
        last_lines = failure.last_lines or failure.traceback
        lines += [f"  | {clean(text)}" for text in last_lines[-8:]]
        lines += _restart(run, snapshot.run)
    return "\n".join(line.rstrip() for line in lines)


def _progress(snapshot: RunSnapshot) -> str:
    epoch, step = snapshot.position
    words = f"epoch {number(None if epoch is None else epoch + 1, 1)}/{number(snapshot.epochs, 1)}"
    words += f", step {number(step, 1)}/{number(snapshot.steps_per_epoch, 1)}"
    words += f", {percent(snapshot.steps_done, snapshot.steps_total)}"
    return words + (f", ETA {duration(snapshot.eta_s)}" if is_live(snapshot.status) else "")


def _table(frame: RunFrame) -> list[str]:
    columns = [column for column in COLUMNS if column.title != "device"]
    lines = [" ".join(fit(column.title, column.width, column.align) for column in columns)]
    lines += [
        " ".join(
            fit(column.text(rank, frame.snapshot), column.width, column.align) for column in columns
        )
        for rank in frame.snapshot.ranks
    ]
    return lines


def _restart(run: RunSource, name: str) -> list[str]:
    try:
        choice = run.restart()
    except SourceError as problem:
        return [f"restart   {clean(str(problem))}"]
    lines = [f"restart   {restart_words(choice)}"]
    if choice.path is not None:
        lines.append(f"  $ {shlex.join(ResumeRequest().command(name))}")
    return lines
