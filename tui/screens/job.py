"""The forms of eval, export, infer, resume and note: what can be chosen for this run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from launcher.core.run.requests import JobRequest, NoteRequest, ResumeRequest
from launcher.core.text.figures import position_words
from tui.drawing.text import clean
from tui.drawing.wording import job_words, restart_words, run_note
from tui.model.derived import is_live, nodes_of
from tui.model.run import RunFrame
from tui.screens.fields import Choices, Field, fields_of
from tui.screens.request import RequestScreen
from tui.screens.results import HEAD, figures, rows_of

if TYPE_CHECKING:
    from launcher.client import CheckpointFacts, ResumeChoice, RunSnapshot

TITLES: Final = {
    "eval": "Evaluate", "export": "Export", "infer": "ONNX inference on a folder:",
}  # fmt: skip
WEIGHTS: Final = (
    ("moving average (EMA) if there is one", ""),
    ("moving average (EMA)", "ema"),
    ("the trained weights", "model"),
)
FORMATS: Final = (("ONNX", "ONNX"), ("MINDIR", "MINDIR"), ("AIR", "AIR"))
PRECISIONS: Final = (("float32", "fp32"), ("float16", "fp16"), ("8-bit integers", "int8"))
SHARE: Final = (("a free one", False), ("share one with a rank", True))
RESULT_LIMIT: Final = 4


def job_screen(frame: RunFrame, kind: str, checkpoint: str = "") -> RequestScreen:
    """The form of a job; ``checkpoint`` is the path of the one that was chosen in the results."""
    run, nodes = frame.snapshot, nodes_of(frame.snapshot)
    choices: dict[str, Choices] = {
        "checkpoint": [("newest", ""), *checkpoint_choices(frame)],
        "weights": WEIGHTS,
        "file_format": FORMATS,
        "precision": PRECISIONS,
        "share_device": SHARE,
        "node": [("rank 0's", ""), *((name, name) for name in nodes)],
    }
    # A job needs a rank's device only while the run lives, and a choice of nodes has two or more.
    skip = [] if is_live(run.status) else ["share_device"]
    skip += ["node"] if len(nodes) < 2 else []
    if checkpoint not in {value for _, value in choices["checkpoint"]} or kind == "infer":
        checkpoint = ""
    rated = [row for row in rows_of(frame) if row.evaluation] if kind == "eval" else []
    below = [HEAD, *(f"  {figures(row)}" for row in rated[:RESULT_LIMIT])] if rated else []
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
    checkpoints = [first, *checkpoint_choices(frame), ("none: train from scratch", "scratch")]
    choices: dict[str, Choices] = {"checkpoint": checkpoints}
    skip = ["profile", "preflight"]
    if left := frame.snapshot.state.left_out:
        names = ", ".join(left)
        choices["take_back"] = [("no, keep the current nodes", False), (f"yes, {names}", True)]
    else:
        skip.append("take_back")
    return RequestScreen(
        f"Resume {frame.snapshot.run}",
        frame.snapshot.run,
        ResumeRequest(),
        fields_of(ResumeRequest, "", choices, skip),
        start="Resume",
        about=restart_words(choice),
    )


def note_screen(run: RunSnapshot) -> RequestScreen:
    return RequestScreen(
        f"Note of {run.run}",
        run.run,
        NoteRequest(run_note(run)),
        (Field("note", "note", "why this run was made"),),
        start="Save",
    )


def checkpoint_choices(frame: RunFrame) -> Choices:
    """The best checkpoint, and the newest ones."""
    best = next((row.checkpoint for row in rows_of(frame) if row.best), None)
    found = [] if best is None else [(f"best so far, {_where(best)}", best.path)]
    newest = [facts for facts in frame.checkpoints[:20] if facts is not best]
    return [*found, *((_where(facts), facts.path) for facts in newest)]


def _where(facts: CheckpointFacts) -> str:
    manifest = facts.manifest
    return "" if manifest is None else position_words(manifest.epoch, manifest.step)
