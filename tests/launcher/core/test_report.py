"""The report parser: every form that docs/report-format.md accepts, and anything else."""

from __future__ import annotations

import math
import time

import pytest

from launcher.core.run.report import parse
from launcher.core.run.report_types import (
    CheckpointSaved,
    Done,
    EpochReport,
    EvalReport,
    EvalResult,
    Fault,
    Resumed,
    StepReport,
    Stopped,
    TrainingHeader,
)

STEP = (
    "epoch: [  0/ 20], step:[    3/   45], loss:[2.30259/2.31011], time:[941.315],"
    " wait:[12.101], images/s:[34.0], lr:[0.0100000], memory:[1288490188]"
)


def test_a_step_line_has_all_its_values() -> None:
    assert parse(STEP) == StepReport(
        epoch=0,
        epochs=20,
        step=3,
        steps_per_epoch=45,
        loss=2.30259,
        mean_loss=2.31011,
        step_time_ms=941.315,
        wait_ms=12.101,
        images_per_s=34.0,
        learning_rate=0.01,
        memory_bytes=1288490188,
    )


def test_a_report_of_several_steps_says_how_many() -> None:
    found = parse(STEP + ", steps:[10]")
    assert isinstance(found, StepReport)
    assert found.steps == 10
    assert found.global_step == 3


def test_the_references_own_step_line() -> None:
    line = "epoch: [  0/350], step:[    0/  625], loss:[7.041/7.041], time:[129437.548], lr:[0.000]"
    assert parse(line) == StepReport(
        epoch=0,
        epochs=350,
        step=0,
        steps_per_epoch=625,
        loss=7.041,
        mean_loss=7.041,
        step_time_ms=129437.548,
        learning_rate=0.0,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "epoch 1: epoch time: 43360.500, per step time: 963.567, avg loss: 1.872,"
            " images/s:[33.2]",
            EpochReport(
                epoch=1,
                epoch_time_ms=43360.5,
                step_time_ms=963.567,
                mean_loss=1.872,
                images_per_s=33.2,
            ),
        ),
        (
            "epoch 1：epoch time: 1301358.75, per step time: 2082.174, avg loss: 5.814",
            EpochReport(epoch=1, epoch_time_ms=1301358.75, step_time_ms=2082.174, mean_loss=5.814),
        ),
        (
            "epoch time: 216689.500, per step time: 54172.375, avg loss: 6.872",
            EpochReport(epoch_time_ms=216689.5, step_time_ms=54172.375, mean_loss=6.872),
        ),
        (
            "Train epoch time: 5000.125 ms, per step time: 10.000 ms",
            EpochReport(epoch_time_ms=5000.125, step_time_ms=10.0),
        ),
        (
            "epoch: [ 2/350], epoch time: 236883.750, steps: 625, per step time: 379.014,"
            " avg loss: 4.142, lr:[0.100]",
            EpochReport(
                epoch=2,
                epochs=350,
                epoch_time_ms=236883.75,
                step_time_ms=379.014,
                mean_loss=4.142,
                learning_rate=0.1,
                steps=625,
            ),
        ),
        (
            "epoch: 1 step: 1, loss is 2.302585",
            StepReport(epoch=0, step=0, loss=2.302585),
        ),
        (
            "start: rank:[0/2], target:[CPU], variant:[b2], parameters:[9109994], epochs:[20],"
            " steps per epoch:[45], batch:[16x2], images:[1437], seed:[1]",
            TrainingHeader(
                rank=0,
                world_size=2,
                target="CPU",
                variant="b2",
                parameters=9109994,
                epochs=20,
                steps_per_epoch=45,
                batch_size=16,
                images=1437,
                seed=1,
            ),
        ),
        (
            "checkpoint: epoch:[1], step:[45], bytes:[110100480], time:[212.500],"
            " sha256:[0f3c2a9b0f3c2a9b], path:[/data/run [1], x/step-00000045.ckpt]",
            CheckpointSaved(
                epoch=1,
                step=45,
                path="/data/run [1], x/step-00000045.ckpt",
                size_bytes=110100480,
                time_ms=212.5,
                sha256="0f3c2a9b0f3c2a9b",
            ),
        ),
        (
            "resume: epoch:[1], step:[45], path:[/data/run 1/step-00000045.ckpt]",
            Resumed(epoch=1, step=45, path="/data/run 1/step-00000045.ckpt"),
        ),
        (
            "eval: epoch:[1], step:[45], images:[360], time:[4210.000], images/s:[85.5],"
            " weights:[ema]",
            EvalReport(
                epoch=1, step=45, images=360, time_ms=4210.0, images_per_s=85.5, weights="ema"
            ),
        ),
        (
            "stop: epoch:[3], step:[151], reason:[stop file]",
            Stopped(epoch=3, step=151, reason="stop file"),
        ),
        (
            "stop: epoch:[3], step:[151], state:[5d41402abc4b2a76], reason:[SIGTERM]",
            Stopped(epoch=3, step=151, reason="SIGTERM", state="5d41402abc4b2a76"),
        ),
        (
            "done: epochs:[2], steps:[9], time:[87.500], state:[5d41402abc4b2a76]",
            Done(epochs=2, steps=9, time_ms=87.5, state="5d41402abc4b2a76"),
        ),
        (
            "fault: kind:[loss], epoch:[2], step:[97], text:[the loss is nan; images [3], 4]",
            Fault(kind="loss", epoch=2, step=97, text="the loss is nan; images [3], 4"),
        ),
        (
            "done: epochs:[20], steps:[900], time:[871532.250]",
            Done(epochs=20, steps=900, time_ms=871532.25),
        ),
    ],
)
def test_lines_of_every_kind(line: str, expected: object) -> None:
    assert parse(line) == expected
    assert parse((line + "\r\n").encode()) == expected


@pytest.mark.parametrize("value", ["0.25", "np.float64(0.25)"])
@pytest.mark.parametrize("ckpt", ["ckpt = ", "ckpt= "])
def test_the_references_result_line(value: str, ckpt: str) -> None:
    line = f"result: {{'Loss': 1.5, 'Top_1_Acc': {value}, 'Top_5_Acc': 0.5}} {ckpt}./a b.ckpt"
    assert parse(line) == EvalResult(
        loss=1.5, top_1_acc=0.25, top_5_acc=0.5, checkpoint="./a b.ckpt"
    )


def test_a_loss_that_is_not_finite_is_a_report() -> None:
    found = parse("epoch: [  0/  1], step:[    0/    1], loss:[nan/inf], time:[1.0], lr:[0.1]")
    assert isinstance(found, StepReport)
    assert found.loss is not None
    assert math.isnan(found.loss)
    assert found.mean_loss == math.inf


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch",
        " " + STEP,
        STEP.replace("2.30259", "two"),
        STEP.replace("941.315", "9_4"),
        STEP.replace("3/", "٣/"),
        STEP + "\n" + STEP,
        "epoch: [1/2]",
        "epochs are fun",
        "start: up",
        "stop: it",
        "eval: done",
        "done: epochs:[99999999999999999999], steps:[1]",
        "result: nothing",
    ],
)
def test_other_lines_stay_plain_lines(line: str) -> None:
    assert parse(line) is None


def test_keys_inside_the_last_text_are_text() -> None:
    line = "fault: kind:[loss], epoch:[2], step:[97], text:[see step:[9], kind:[data], path:[x]]"
    assert parse(line) == Fault("loss", "see step:[9], kind:[data], path:[x]", 2, 97)


def test_unknown_keys_are_ignored() -> None:
    assert parse(STEP + ", colour:[blue]") == parse(STEP)


def test_huge_lines_are_cheap() -> None:
    plain, report_like = b"x" * 10_000_000, STEP.encode() + b"9" * 10_000_000
    start = time.process_time()
    for _ in range(1000):
        assert parse(plain) is None
        assert parse(report_like) is None
    assert time.process_time() - start < 5  # CPU; a pass over them would take minutes


def test_long_lines_that_look_like_reports_are_quick() -> None:
    for filler in ("[", "]", ":[", "a" * 31 + ":[", "epoch: [", " ", "0", ", x:[1]"):
        line = ("epoch: [  0/  1], step:[    0/    1], " + filler * 65_000)[:65_000]
        start = time.process_time()
        parse(line)
        parse("fault: " + line[:60_000])
        assert time.process_time() - start < 5, filler  # CPU; what backtracks takes minutes
