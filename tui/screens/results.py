"""The checkpoints of a run with their evaluations, and its jobs: one table, kept up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from launcher.core.text.figures import NOT_KNOWN, accuracy, age, number, size_bytes
from tui.context import context_of
from tui.drawing.text import clean
from tui.drawing.wording import is_job_bad, job_words
from tui.model.derived import evaluations, job_path
from tui.model.run import RunFrame
from tui.screens.base import when_composed
from tui.widgets.lines import Line
from tui.widgets.pick_list import PickList

if TYPE_CHECKING:
    from launcher.client import CheckpointFacts
    from launcher.core.run.state import EvalState

HEAD = f"  {'epoch':>5} {'step':>7} {'top-1':>8} {'top-5':>8} {'loss':>7} {'weights':<7}"
NOTHING = ("No checkpoint was saved yet, and nothing was evaluated.",)
SHOWN_JOBS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A checkpoint and one evaluation of it; either may be missing."""

    checkpoint: CheckpointFacts | None
    evaluation: EvalState | None
    best: bool = False  # the highest top-1 of those whose file is there

    @property
    def top_1(self) -> float | None:
        return None if self.evaluation is None else self.evaluation.top_1_acc

    @property
    def step(self) -> int:
        """Over all epochs; -1 when not known."""
        one = self.checkpoint.manifest if self.checkpoint is not None else self.evaluation
        return -1 if one is None or one.step is None else one.step

    @property
    def epoch(self) -> int | None:
        """Completed epochs."""
        one = self.checkpoint.manifest if self.checkpoint is not None else self.evaluation
        return None if one is None else one.epoch


def rows_of(frame: RunFrame) -> list[Row]:
    """Newest first; a checkpoint that was evaluated twice has two rows, the newer one first."""
    saved = [Row(facts, None) for facts in frame.checkpoints]
    by_step = {row.step: row.checkpoint for row in saved}
    rated = [
        Row(by_step.get(-1 if entry.step is None else entry.step), entry)
        for entry in reversed(evaluations(frame.snapshot))
    ]
    top_1s = [row.top_1 for row in rated if row.checkpoint and row.top_1 is not None]
    top_1 = max(top_1s, default=None)
    rows = [
        replace(row, best=row.checkpoint is not None and top_1 is not None and row.top_1 == top_1)
        for row in rated
    ]
    seen = {row.step for row in rows}
    rows += [row for row in saved if row.step not in seen]
    return sorted(rows, key=lambda row: -row.step)


def figures(row: Row) -> str:
    """A row of the table under ``HEAD``, without the two cells of the cursor."""
    rated = row.evaluation
    top_5 = None if rated is None else rated.top_5_acc
    shares = accuracy(row.top_1), accuracy(top_5)
    return (
        f"{'*' if row.best else ' '}{_or_unknown(row.epoch):>4} {row.step:>7} "
        f"{shares[0]:>8} {shares[1]:>8} {number(rated.loss if rated else None, 4):>7} "
        f"{clean(rated.weights) if rated and rated.weights else NOT_KNOWN:<7}"
    )


def _or_unknown(value: int | None) -> str:
    return NOT_KNOWN if value is None else str(value)


class ResultsScreen(ModalScreen[tuple[str, str]]):
    """Returns the job to start (``eval``, ``export``, ``infer``) and the checkpoint's path."""

    BINDING_GROUP_TITLE = "Results"
    HELP = "Checkpoints and their evaluations, newest first; * marks the best top-1."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,t,q", "leave", "Close"),
        Binding("e", "job('eval')", "Evaluate it"),
        Binding("x", "job('export')", "Export it"),
        Binding("i", "job('infer')", "Infer"),
        Binding("y", "copy", "Copy path"),
    ]

    def __init__(self, frame: RunFrame) -> None:
        super().__init__()
        self._frame = frame

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(f"Results of {self._frame.snapshot.run}"), classes="title")
            yield Static("", id="head", classes="muted")
            yield PickList(NOTHING, id="rows")
            yield Static("", id="path", classes="command")
            yield Static("", id="jobs")

    @when_composed
    def on_mount(self) -> None:
        keys = "y copies the path   esc closes"
        if not context_of(self).read_only and not self._frame.snapshot.runs_script:
            keys = f"e evaluate   x export   i infer   {keys}"
        self.query_one("#dialog").border_subtitle = keys
        self.query_one("#rows").focus()
        self.show(self._frame)

    @property
    def _wide(self) -> bool:
        return self.size.width >= 90

    def on_resize(self) -> None:
        self.show(self._frame)

    def show(self, frame: RunFrame) -> None:
        self._frame = frame
        if not self.query("#jobs"):  # not composed yet, or closed
            return
        rows = rows_of(frame)
        head = f"{HEAD}{' images' if self._wide else ''} {'size':>9}  saved"
        self.query_one("#head", Static).update(Content(head))
        table = self.query_one("#rows", PickList)
        jobs = frame.snapshot.state.jobs[-SHOWN_JOBS:]
        room = self.size.height * 95 // 100 - 6 - 2 * len(jobs)
        table.styles.height = max(min(max(len(rows), 1), room), 3)
        keys = [f"{at} {row.step}" for at, row in enumerate(reversed(rows))][::-1]
        table.show(keys, lambda at: self._line(rows[at]))
        self._show_path()
        lines: list[tuple[str, str]] = []
        for job in reversed(jobs):
            path, style = job_path(job), "bold $error" if is_job_bad(job) else ""
            lines.append((f"{clean(job_words(job, frame))}\n", style))
            lines += [(f"  {clean(path)}\n", "")] if path else []
        self.query_one("#jobs", Static).update(Content.assemble(*lines).rstrip())

    def _line(self, row: Row) -> Line:
        palette, saved = context_of(self).palette, row.checkpoint
        text = figures(row)
        if self._wide:
            text += f" {_or_unknown(row.evaluation.images if row.evaluation else None):>6}"
        no_file = NOT_KNOWN if context_of(self).again else "removed"  # a replay has no files
        size = no_file if saved is None else size_bytes(saved.file_bytes)
        saved_s = None if saved is None or saved.manifest is None else saved.manifest.created_s
        when = "" if saved_s is None else f"{age(self._frame.snapshot.polled_s - saved_s)} ago"
        return [
            Segment(text, palette.good if row.best else palette.text),
            Segment(f" {size:>9}  {when}", palette.muted),
        ]

    def _row(self) -> Row | None:
        rows = rows_of(self._frame)
        at = self.query_one("#rows", PickList).cursor
        return rows[at] if at < len(rows) else None

    def _path(self) -> str:
        row = self._row()
        return "" if row is None or row.checkpoint is None else row.checkpoint.path

    def _show_path(self) -> None:
        self.query_one("#path", Static).update(Content(clean(self._path()) or "no file"))

    def on_pick_list_moved(self) -> None:
        self._show_path()

    def on_pick_list_chosen(self) -> None:
        self.action_job("eval")

    def action_job(self, kind: str) -> None:
        if why := context_of(self).read_only:
            self.notify(why, severity="warning")
        elif self._frame.snapshot.runs_script:
            self.notify("this run has a script of its own: evaluate with it", severity="warning")
        else:
            self.dismiss((kind, self._path()))

    def action_copy(self) -> None:
        if path := self._path():
            context_of(self).copy_text(path, "path")

    def action_leave(self) -> None:
        self.dismiss(None)
