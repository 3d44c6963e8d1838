"""The lines that the README of the reference publishes, as they stand, and those of its code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.core.run.report import parse
from launcher.core.run.report_types import EpochReport, EvalResult, StepReport

LINES = (Path(__file__).parents[1] / "fixtures/reference-log.txt").read_text().splitlines()


def test_the_published_log_is_read_character_for_character() -> None:
    """Written down again from what was read, each line is the line that was published."""
    assert len(LINES) == 6
    for number, line in enumerate(LINES[:5], start=1):
        found = parse(line)
        assert isinstance(found, EpochReport)
        assert found.epoch == number
        colon = "：" if number == 1 else ": "  # the first one is full-width
        again = (
            f"epoch {number}{colon}epoch time: {found.epoch_time_ms},"
            f" per step time: {found.step_time_ms}, avg loss: {found.mean_loss}"
        )
        assert again == line
        assert parse(line.encode()) == found


def test_the_published_result_is_read_character_for_character() -> None:
    found = parse(LINES[5])
    assert isinstance(found, EvalResult)
    values = {"Loss": found.loss, "Top_1_Acc": found.top_1_acc, "Top_5_Acc": found.top_5_acc}
    assert f"result: {values} ckpt = {found.checkpoint}" == LINES[5]
    # The images that it counts: all that fill batches, and not all.
    assert found.top_1_acc is not None
    assert found.top_1_acc * 49_920 == pytest.approx(39_834, abs=1e-6)


@pytest.mark.parametrize(
    "line",
    [
        "epoch: [  0/350], step:[    0/  625], loss:[7.041/7.041], time:[129437.548], lr:[0.000]",
        "epoch: [349/350], step:[  624/  625], loss:[1.750/1.749], time:[1032.100], lr:[0.130]",
    ],
)
def test_the_step_lines_of_its_code(line: str) -> None:
    found = parse(line)
    assert isinstance(found, StepReport)
    again = (
        f"epoch: [{found.epoch:3d}/{found.epochs:3d}],"
        f" step:[{found.step:5d}/{found.steps_per_epoch:5d}],"
        f" loss:[{found.loss:5.3f}/{found.mean_loss:5.3f}],"
        f" time:[{found.step_time_ms:5.3f}], lr:[{found.learning_rate:5.3f}]"
    )
    assert again == line


def test_the_epoch_line_of_its_code() -> None:
    line = "epoch time: 216689.500, per step time: 54172.375, avg loss: 6.872"
    found = parse(line)
    assert isinstance(found, EpochReport)
    again = (
        f"epoch time: {found.epoch_time_ms:5.3f}, per step time: {found.step_time_ms:5.3f},"
        f" avg loss: {found.mean_loss:5.3f}"
    )
    assert again == line


def test_our_own_lines_are_those() -> None:
    """Ours say the same in the same words: what reads the one reads the other."""
    from effnet.contract import report

    epoch = report.Window(625, 5.814, 5.814, 1301358.75, None, 619.1)
    own = report.epoch_line(1, epoch)
    assert re.sub(r", images/s:\[619.1\]$", "", own) == LINES[0].replace("：", ": ").replace(
        "1301358.75,", "1301358.750,"
    )
    result = parse(LINES[5])
    assert isinstance(result, EvalResult)
    values = (result.loss or 0, result.top_1_acc or 0, result.top_5_acc or 0)
    found = report.Evaluation(*values, images=1, unreadable=0, time_ms=1.0)
    assert report.result_line(found, result.checkpoint or "") == LINES[5]
