"""One plain-text picture of a run, for scripts and CI logs."""

from __future__ import annotations

from typing import Final

from tui.drawing.text import age, clean, duration, fit, number, percent
from tui.drawing.wording import headline, ranks_in_words, restart_words
from tui.model.run import FrameRequest, RunFrame, RunView
from tui.sources.source import RunSource, SourceError
from tui.widgets.rank_table import COLUMNS

HIDDEN: Final = ("device",)


def picture(run: RunSource) -> str:
    """The run as lines of text, without colours and control characters."""
    frame: RunFrame = run.frame(FrameRequest(skew_bins=40))
    view = frame.view
    lines = [
        f"run       {clean(view.id)}",
        f"state     {view.state}" + (f", attempt {view.attempt}" if view.attempt else ""),
        f"progress  {_progress(view)}",
        f"figures   loss {number(view.loss, 4)}, {number(view.images_per_s)} images/s, "
        f"data {age(view.age_s)} old",
    ]
    if view.worst:
        lines.append(f"worst     {clean(view.worst)}")
    if view.ranks:
        lines += ["", *_table(view)]
    if view.failure is not None:
        failure = view.failure
        lines += ["", f"failure   {headline(failure)}", f"meaning   {clean(failure.meaning)}"]
        if failure.followers:
            lines.append(f"followed  {ranks_in_words(failure.followers)}")
        lines += [f"  | {clean(text)}" for text in failure.last_lines[-8:]]
        lines += _restart(run)
    return "\n".join(line.rstrip() for line in lines)


def _progress(view: RunView) -> str:
    epoch = None if view.epoch is None else view.epoch + 1
    words = f"epoch {number(epoch, 1)}/{number(view.epochs, 1)}"
    words += f", step {number(view.step, 1)}/{number(view.steps_per_epoch, 1)}"
    words += f", {percent(view.done_steps, view.total_steps)}"
    return words + (f", ETA {duration(view.eta_s)}" if view.live else "")


def _table(view: RunView) -> list[str]:
    columns = [column for column in COLUMNS if column.title not in HIDDEN]
    lines = [" ".join(fit(column.title, column.width, column.align) for column in columns)]
    lines += [
        " ".join(fit(column.text(row, view), column.width, column.align) for column in columns)
        for row in view.ranks
    ]
    return lines


def _restart(run: RunSource) -> list[str]:
    try:
        restart = run.restart()
    except SourceError as problem:
        return [f"restart   {clean(str(problem))}"]
    lines = [f"restart   {restart_words(restart)}"]
    return [*lines, f"  $ {restart.command}"] if restart.possible else lines
