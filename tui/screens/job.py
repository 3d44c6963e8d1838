"""Evaluate, export or infer: on what, the exact command, and the results so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static

from tui.context import context_of
from tui.drawing.text import NOT_KNOWN, clean, number
from tui.drawing.wording import job_words
from tui.model.derived import evaluations, is_live, nodes_of
from tui.model.run import RunFrame
from tui.sources.source import SHARE_DEVICE, YES, JobField

if TYPE_CHECKING:
    from launcher.client import CheckpointFacts
    from launcher.core.run.state import EvalState

CommandMaker = Callable[[str, str, Mapping[str, str]], str]

WEIGHTS_FIELD: Final = JobField(
    "weights", "weights", "",
    (("", "moving average (EMA) where there is one"), ("ema", "moving average (EMA)"),
     ("model", "the weights themselves")),
)  # fmt: skip
EXPORT_FIELDS: Final = (
    JobField(
        "file_format", "format", "ONNX", (("ONNX", "ONNX"), ("MINDIR", "MINDIR"), ("AIR", "AIR"))
    ),
    WEIGHTS_FIELD,
    JobField("image_size", "image size", hint="pixels; as trained"),
    JobField("file_name", "file name", hint="in the run's export folder"),
)
EVAL_FIELDS: Final = (WEIGHTS_FIELD, JobField("data_path", "data folder", hint="as in the run"))
INFER_FIELDS: Final = (
    JobField("model", "ONNX file", hint="the newest that this run exported"),
    JobField("data_path", "image folder", hint="as in the run; class folders, or just images"),
)
TITLES: Final = {
    "eval": "Evaluate", "export": "Export", "infer": "ONNX inference on a folder:",
}  # fmt: skip
SHARE_FIELD: Final = JobField(
    SHARE_DEVICE, "device", "", (("", "a free one"), (YES, "share one with a rank"))
)
RESULT_LIMIT: Final = 4


def fields_of(kind: str, frame: RunFrame, checkpoint: str = "") -> tuple[JobField, ...]:
    """What there is to fill in; ``checkpoint`` is the path of the one chosen before."""
    nodes = nodes_of(frame.snapshot)
    some = {"eval": EVAL_FIELDS, "export": EXPORT_FIELDS, "infer": INFER_FIELDS}[kind]
    first = () if kind == "infer" else (checkpoint_field(frame, checkpoint),)
    node: tuple[JobField, ...] = ()
    if len(nodes) > 1:
        names = tuple((name, name) for name in nodes)
        node = (JobField("node", "node", "", (("", "this machine"), *names)),)
    # While the run lives, the job may need a device that a rank holds.
    share = (SHARE_FIELD,) if is_live(frame.snapshot.status) else ()
    return (*first, *some, *node, *share)


def checkpoint_field(frame: RunFrame, chosen: str = "") -> JobField:
    """Newest, best, or any of the run's checkpoints; the newest is the default."""
    choices = [("", "newest")]
    best = best_checkpoint(frame)
    if best is not None:
        choices.append((best.path, f"best so far, {_where(best)}"))
    choices += [
        (facts.path, _where(facts)) for facts in frame.checkpoints[:20] if facts is not best
    ]
    default = chosen if chosen in dict(choices) else ""
    return JobField("checkpoint", "checkpoint", default, tuple(choices))


def _where(facts: CheckpointFacts) -> str:
    manifest = facts.manifest
    return "" if manifest is None else f"epoch {manifest.epoch}, step {manifest.step}"


def best_checkpoint(frame: RunFrame) -> CheckpointFacts | None:
    """The checkpoint with the highest top-1 of those that were evaluated."""
    by_step = {facts.manifest.step: facts for facts in frame.checkpoints if facts.manifest}
    rated = [
        (entry.top_1_acc, by_step[entry.step])
        for entry in evaluations(frame.snapshot)
        if entry.top_1_acc is not None and entry.step in by_step
    ]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def result_rows(rated: Sequence[EvalState]) -> list[str]:
    """A table of results, newest last."""
    rows = [f"{'epoch':>6} {'step':>8} {'top-1':>8} {'top-5':>8} {'loss':>8}  weights"]
    for entry in rated[-RESULT_LIMIT:]:
        top_1 = NOT_KNOWN if entry.top_1_acc is None else f"{entry.top_1_acc:.4f}"
        top_5 = NOT_KNOWN if entry.top_5_acc is None else f"{entry.top_5_acc:.4f}"
        epoch = NOT_KNOWN if entry.epoch is None else str(entry.epoch)
        step = NOT_KNOWN if entry.step is None else str(entry.step)
        rows.append(
            f"{epoch:>6} {step:>8} {top_1:>8} {top_5:>8} {number(entry.loss, 4):>8}  "
            f"{clean(entry.weights or NOT_KNOWN)}"
        )
    return rows


class JobScreen(ModalScreen[dict[str, str]]):
    """Returns the options, or ``None`` when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+y", "copy", "Copy command"),
    ]

    def __init__(
        self, frame: RunFrame, kind: str, command: CommandMaker, checkpoint: str = ""
    ) -> None:
        super().__init__()
        self._frame, self._kind, self._command = frame, kind, command
        self._run = frame.snapshot.run
        self._fields = fields_of(kind, frame, checkpoint)

    def compose(self) -> ComposeResult:
        """Fields, the command as they change, results so far."""
        with Vertical(id="dialog"):
            yield Static(Content(f"{TITLES[self._kind]} {self._run}"), classes="title")
            for field in self._fields:
                with Horizontal(classes="row"):
                    yield Label(field.title)
                    if field.choices:
                        yield Select(
                            [(label, value) for value, label in field.choices],
                            value=field.default, allow_blank=False, id=field.name, compact=True,
                        )  # fmt: skip
                    else:
                        yield Input(
                            field.default, placeholder=field.hint, id=field.name, compact=True
                        )
            yield Static("", classes="command", id="command")
            with Horizontal(id="buttons"):
                yield Button("Start (ctrl+s)", id="start", variant="primary", compact=True)
                yield Button("Copy (ctrl+y)", id="copy", compact=True)
                yield Button("Leave (esc)", id="leave", compact=True)
            rated = evaluations(self._frame.snapshot)
            if self._kind == "eval" and rated:
                yield Static(Content("\n".join(result_rows(rated))), id="results")
            jobs = [job for job in self._frame.snapshot.state.jobs if job.type == self._kind]
            for job in jobs[-2:]:
                words = clean(job_words(job, self._frame))
                yield Static(Content(words), classes="muted last-job")

    def on_mount(self) -> None:
        """The command of the defaults."""
        self._show_command()

    def options(self) -> dict[str, str]:
        """What was chosen; fields left empty are left out."""
        chosen: dict[str, str] = {}
        for field in self._fields:
            widget = self.query_one(f"#{field.name}")
            value = str(cast("Input | Select[str]", widget).value or "")
            if value:
                chosen[field.name] = value
        return chosen

    def _show_command(self) -> None:
        text = self._command(self._kind, self._run, self.options())
        self.query_one("#command", Static).update(Content(f"$ {text}"))

    def on_input_changed(self) -> None:
        """The command follows."""
        self._show_command()

    def on_select_changed(self) -> None:
        """The command follows."""
        if self.is_mounted:
            self._show_command()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Start or leave."""
        if event.button.id == "start":
            self.action_start()
        elif event.button.id == "copy":
            self.action_copy()
        else:
            self.action_leave()

    def action_start(self) -> None:
        """Start the job."""
        self.dismiss(self.options())

    def action_copy(self) -> None:
        """The command, as it stands."""
        text = self._command(self._kind, self._run, self.options())
        context_of(self).copy_text(text, "command")

    def action_leave(self) -> None:
        """Nothing is started."""
        self.dismiss(None)
