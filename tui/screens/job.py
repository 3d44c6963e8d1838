"""The forms of eval, export, infer, resume and note: what can be chosen for this run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from launcher.core.run.requests import JobRequest, NoteRequest, ResumeRequest
from tui.drawing.text import NOT_KNOWN, clean, number
from tui.drawing.wording import job_words, restart_words, run_note
from tui.model.derived import evaluations, is_live, nodes_of
from tui.model.run import RunFrame
from tui.screens.fields import Choices, Field, fields_of
from tui.screens.request import RequestScreen

if TYPE_CHECKING:
    from launcher.client import CheckpointFacts, ResumeChoice, RunSnapshot
    from launcher.core.run.state import EvalState

TITLES: Final = {
    "eval": "Evaluate", "export": "Export", "infer": "ONNX inference on a folder:",
}  # fmt: skip
WEIGHTS: Final = (
    ("moving average (EMA) if there is one", ""),
    ("moving average (EMA)", "ema"),
    ("the trained weights", "model"),
)
FORMATS: Final = (("ONNX", "ONNX"), ("MINDIR", "MINDIR"), ("AIR", "AIR"))
SHARE: Final = (("a free one", False), ("share one with a rank", True))
RESULT_LIMIT: Final = 4


def job_screen(frame: RunFrame, kind: str, checkpoint: str = "") -> RequestScreen:
    """The form of a job; ``checkpoint`` is the path of the one chosen before."""
    run, nodes = frame.snapshot, nodes_of(frame.snapshot)
    choices: dict[str, Choices] = {
        "checkpoint": [("newest", ""), *checkpoint_choices(frame)],
        "weights": WEIGHTS,
        "file_format": FORMATS,
        "share_device": SHARE,
        "node": [("rank 0's", ""), *((name, name) for name in nodes)],
    }
    # A job needs a rank's device only while the run lives, and a choice of nodes has two or more.
    skip = [] if is_live(run.status) else ["share_device"]
    skip += ["node"] if len(nodes) < 2 else []
    if checkpoint not in {value for _, value in choices["checkpoint"]} or kind == "infer":
        checkpoint = ""
    rated = evaluations(run)
    below = result_rows(rated) if kind == "eval" and rated else []
    below += [clean(job_words(job, frame)) for job in run.state.jobs if job.type == kind][-2:]
    return RequestScreen(
        f"{TITLES[kind]} {run.run}",
        run.run,
        JobRequest(kind, checkpoint=checkpoint),
        fields_of(JobRequest, kind, choices, skip),
        below=below,
    )


def resume_screen(frame: RunFrame, choice: ResumeChoice | None) -> RequestScreen:
    """The form of a resume; ``choice`` is the newest complete checkpoint, once it is known."""
    first = ("newest complete", "auto")
    choices = [first, *checkpoint_choices(frame), ("none: train from scratch", "scratch")]
    return RequestScreen(
        f"Resume {frame.snapshot.run}",
        frame.snapshot.run,
        ResumeRequest(),
        fields_of(ResumeRequest, "", {"checkpoint": choices}, ("profile", "preflight")),
        start="Resume",
        about=restart_words(choice),
    )


def note_screen(run: RunSnapshot) -> RequestScreen:
    """The form of the note."""
    return RequestScreen(
        f"Note of {run.run}",
        run.run,
        NoteRequest(run_note(run)),
        (Field("note", "note", "why this run was made"),),
        start="Save",
    )


def checkpoint_choices(frame: RunFrame) -> Choices:
    """The best checkpoint, and the newest ones."""
    best = best_checkpoint(frame)
    found = [] if best is None else [(f"best so far, {_where(best)}", best.path)]
    newest = [facts for facts in frame.checkpoints[:20] if facts is not best]
    return [*found, *((_where(facts), facts.path) for facts in newest)]


def best_checkpoint(frame: RunFrame) -> CheckpointFacts | None:
    """The checkpoint with the highest top-1 of those that were evaluated."""
    by_step = {facts.manifest.step: facts for facts in frame.checkpoints if facts.manifest}
    rated = [
        (entry.top_1_acc, by_step[entry.step])
        for entry in evaluations(frame.snapshot)
        if entry.top_1_acc is not None and entry.step in by_step
    ]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def _where(facts: CheckpointFacts) -> str:
    manifest = facts.manifest
    return "" if manifest is None else f"epoch {manifest.epoch}, step {manifest.step}"


def result_rows(rated: Sequence[EvalState]) -> list[str]:
    """A table of results, newest last."""
    table = [f"{'epoch':>6} {'step':>8} {'top-1':>8} {'top-5':>8} {'loss':>8}  weights"]
    for entry in rated[-RESULT_LIMIT:]:
        top_1 = NOT_KNOWN if entry.top_1_acc is None else f"{entry.top_1_acc:.4f}"
        top_5 = NOT_KNOWN if entry.top_5_acc is None else f"{entry.top_5_acc:.4f}"
        epoch = NOT_KNOWN if entry.epoch is None else str(entry.epoch)
        step = NOT_KNOWN if entry.step is None else str(entry.step)
        table.append(
            f"{epoch:>6} {step:>8} {top_1:>8} {top_5:>8} {number(entry.loss, 4):>8}  "
            f"{clean(entry.weights or NOT_KNOWN)}"
        )
    return table
