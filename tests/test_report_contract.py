"""Writer, parser and docs/report-format.md say the same."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effnet.config import resolve
from effnet.contract import exit_codes, reporter
from effnet.contract import report as writer
from launcher.agent import stack_taker
from launcher.core.diagnosis.evidence import find_evidence
from launcher.core.diagnosis.failure import EXIT_KINDS
from launcher.core.run import report as parser
from launcher.core.run.events import FailureKind
from launcher.core.run.heartbeat import HEARTBEAT_BYTES, Phase, parse_heartbeat

PAGE = Path(__file__).parent.parent / "docs/report-format.md"
COUNTS = st.integers(0, 10**12)
TIMES = st.floats(0, 1e9)
PATHS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60
).map(lambda name: f"/data/{name}.ckpt")


def examples() -> list[str]:
    """The indented lines of the section about lines."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## Lines") : text.index("## Exit codes")]
    return [line[4:] for line in section.split("\n") if line.startswith("    ")]


def test_the_page_has_examples_of_every_kind() -> None:
    kinds = {type(parser.parse(line)).__name__ for line in examples()}
    assert kinds == {
        "StepReport",
        "EpochReport",
        "TrainingHeader",
        "CheckpointSaved",
        "Resumed",
        "EvalReport",
        "EvalResult",
        "Stopped",
        "Fault",
        "Done",
        "Progress",
        "Calibrated",
    }


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_page_is_a_report(line: str) -> None:
    assert parser.parse(line) is not None


def test_the_writer_prints_the_pages_own_lines() -> None:
    ckpt = "/data/run 1/checkpoint/step-00000045.ckpt"
    first = writer.Window(1, 2.30259, 2.31011, 941.315, 12.101, 34.0, 3.25, 212.5, 1766500000.25)
    whole = writer.Window(45, 1.5, 1.872, 43360.5, None, 33.2)
    digest = "0f3c2a9b0f3c2a9b00"
    saved = writer.SavedCheckpoint(Path(ckpt), 45, 1, 110100480, digest, 41.5, 530.125)
    accuracies = (0.7979567307692308, 0.9468549679487179)
    evaluation = writer.Evaluation(1.7495090191180889, *accuracies, 360, 0, 4210.0)
    printed = [
        writer.start_line(resolve("CPU").config, 0, 2, 9109994, 45, 1437),
        writer.step_line(0, 20, 3, 45, first, 0.01, 1288490188),
        writer.epoch_line(1, whole),
        writer.checkpoint_line(saved),
        writer.resume_line(1, 45, ckpt),
        writer.eval_line(1, 45, evaluation, "ema"),
        writer.result_line(evaluation, "./checkpoint/model_0/Efficientnet_b2-rank0-350_625.ckpt"),
        writer.stop_line(3, 151, "stop file", "5d41402abc4b2a76"),
        writer.fault_line(
            "loss",
            2,
            97,
            "the loss is nan at step 97; images 311, 1204, 87; last good checkpoint: step 90",
        ),
        writer.progress_line("eval", 128, 360),
        writer.calibration_line(10, 941.315, 45, 4210.0, 212.4),
        writer.done_line(20, 900, 871532.25, "5d41402abc4b2a76"),
    ]
    page = examples()
    assert [line for line in printed if line not in page] == []


@given(
    epoch=COUNTS,
    step=COUNTS,
    loss=st.floats(allow_nan=True),
    wait=st.none() | TIMES,
    memory=st.none() | COUNTS,
    lr=st.floats(0, 10),
    steps=st.integers(1, 10**6),
)
def test_step_lines_come_back(
    epoch: int,
    step: int,
    loss: float,
    wait: float | None,
    memory: int | None,
    lr: float,
    steps: int,
) -> None:
    window = writer.Window(steps, loss, 1.5, 12.5 * steps, wait, 34.0, wait, 2.5, 1766500000.25)
    found = parser.parse(writer.step_line(epoch, 350, step, 625, window, lr, memory))
    if not isinstance(found, parser.StepReport):
        # A loss of more than 50 digits is no number that training makes.
        assert abs(loss) > 1e50
        return
    assert (found.epoch, found.step, found.steps) == (epoch, step, steps)
    assert (found.epochs, found.steps_per_epoch, found.mean_loss) == (350, 625, 1.5)
    assert found.loss == pytest.approx(loss, rel=1e-9, abs=1e-5, nan_ok=True)
    assert found.memory_bytes == memory
    assert found.learning_rate == pytest.approx(lr, abs=1e-7)
    assert (found.wait_ms is None) == (wait is None)
    if wait is not None:
        assert found.wait_ms == found.input_ms == pytest.approx(wait, abs=1e-3)
    assert (found.save_ms, found.done_s) == (2.5, 1766500000.25)


@given(epoch=COUNTS, step=COUNTS, path=PATHS, text=PATHS)
def test_paths_and_texts_of_any_kind_come_back(epoch: int, step: int, path: str, text: str) -> None:
    file = writer.SavedCheckpoint(Path(path), step, epoch, 5, "ab" * 32, 1.0)
    saved = parser.parse(writer.checkpoint_line(file))
    assert saved == parser.CheckpointSaved(epoch, step, str(Path(path)), 5, 1.0, "ab" * 8)
    assert parser.parse(writer.resume_line(epoch, step, path)) == parser.Resumed(epoch, step, path)
    one_line = " ".join(text.split())
    fault = parser.parse(writer.fault_line("data", epoch, step, text))
    assert fault == parser.Fault("data", one_line, epoch, step)
    evaluation = writer.Evaluation(math.inf, 0.5, 1.0, 1, 0, 1.0)
    result = parser.parse(writer.result_line(evaluation, path))
    assert result == parser.EvalResult(math.inf, 0.5, 1.0, path)


@pytest.mark.parametrize("kind", exit_codes.KINDS)
def test_every_kind_of_fault_is_parsed(kind: str) -> None:
    found = find_evidence([writer.fault_line(kind, 1, 45, "no libcudnn.so.8")]).meaning
    assert found is not None
    assert found[0] is (FailureKind.CRASH if kind == "other" else FailureKind(kind))
    assert found[1] == "no libcudnn.so.8"
    assert found[2]


def test_exit_codes_and_fault_lines_agree_on_the_kind() -> None:
    kinds = {kind: code for kind, code in exit_codes.KINDS.items() if kind != "other"}
    assert len(kinds) == 5
    assert [EXIT_KINDS[code][0].value for code in kinds.values()] == list(kinds)


def test_the_reporter_is_read_back(tmp_path: Path) -> None:
    assert reporter.RECORD_BYTES == HEARTBEAT_BYTES
    assert set(reporter.PHASES) == {phase.value for phase in Phase}
    file = tmp_path / "heartbeat"
    beat = reporter.Heartbeat(str(file))
    beat.done(97, 2)
    for phase in reporter.PHASES:
        beat.phase(phase)
        found = parse_heartbeat(file.read_bytes())
        assert found is not None
        assert (found.phase.value, found.steps_done, found.epochs_done) == (phase, 97, 2)
    beat.close()


def test_the_launcher_sends_the_signal_that_the_trainer_handles() -> None:
    assert stack_taker.SIGNAL == reporter.STACKS_SIGNAL
    assert f"SIGRTMIN + {reporter.STACKS_SIGNAL - signal.SIGRTMIN}" in PAGE.read_text(
        encoding="utf-8"
    )
