"""What training scripts print: each format, patterns of users, and what lines leave out."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from launcher.core.run.report_types import Done, EpochReport, StepReport
from launcher.core.run.script_lines import (
    GROUPS,
    MAX_LINE_CHARS,
    StepFiller,
    Throughput,
    log_pattern,
    parse,
)

PAGE = Path(__file__).parents[3] / "docs/reference/script-lines.md"

MINDFORMERS = (
    "2025-04-07 15:34:29,173 - [mindformers/core/callback/callback.py:529] - INFO - "
    "{ Epoch:[  1/  2], step:[    2/   19], loss: 10.633, per_step_time: 1752ms, lr: 1e-05, "
    "overflow cond: False, loss_scale: 1.0, global_norm: [1.508834], "
    "train_throughput_per_npu: 170.738T"
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("epoch: 1 step: 100, loss is 0.1", StepReport(epoch=0, step=99, loss=0.1)),
        (
            "Train epoch time: 5000.125 ms, per step time: 10.000 ms",
            EpochReport(epoch_time_ms=5000.125, step_time_ms=10.0),
        ),
        (
            "Train epoch time: 64.250 ms, per step time: 16.063 ms (data time: 1.000 ms)",
            EpochReport(epoch_time_ms=64.25, step_time_ms=16.063),
        ),
        (
            "epoch time: 5000.125 ms, per step time: 10.000 ms",
            EpochReport(epoch_time_ms=5000.125, step_time_ms=10.0),
        ),
        (
            MINDFORMERS,
            StepReport(
                epoch=0,
                epochs=2,
                step=1,
                steps_per_epoch=19,
                loss=10.633,
                step_time_ms=1752.0,
                learning_rate=1e-05,
            ),
        ),
        (
            "- INFO - { Epoch:[  3/  5], step:[   12/   20], loss:[ 7.041/ 7.112], "
            "per_step_time: 57ms, lr: 3.57e-07, overflow cond: False, loss_scale: 65536.0",
            StepReport(
                epoch=2,
                epochs=5,
                step=11,
                steps_per_epoch=20,
                loss=7.041,
                mean_loss=7.112,
                step_time_ms=57.0,
                learning_rate=3.57e-07,
            ),
        ),
        (
            "{ step:[    2/   10], loss:  11.755612, per_step_time:    710ms, "
            "load_balancing_loss:   1.106543, lr: 1.000000e-05, grad_norm:  19.926786 }",
            StepReport(
                epoch=0,
                epochs=1,
                step=1,
                steps_per_epoch=10,
                loss=11.755612,
                step_time_ms=710.0,
                learning_rate=1e-05,
            ),
        ),
        (
            "{ step:[    2/   10], loss: N/A (non-last PP stage, refer to last stage for real "
            "loss), per_step_time:    710ms, lr: 1.0e-05 }",
            StepReport(
                epoch=0,
                epochs=1,
                step=1,
                steps_per_epoch=10,
                step_time_ms=710.0,
                learning_rate=1e-05,
            ),
        ),
        (
            "- INFO -    0.0% |            | 0.00600 samples/s/p  25 days, 2:07:47 }",
            Throughput(0.006),
        ),
        ("[default0]:epoch: 1 step: 1, loss is 2.5", StepReport(epoch=0, step=0, loss=2.5)),
        ("[rank12]: epoch: 1 step: 1, loss is 2.5", StepReport(epoch=0, step=0, loss=2.5)),
        ("[1,3]<stdout>:epoch: 1 step: 1, loss is 2.5", StepReport(epoch=0, step=0, loss=2.5)),
        (" 10%|#  | 1/9\r 20%|## | 2/9\repoch: 1 step: 2, loss is 1", StepReport(0, 1, loss=1.0)),
        ("done: epochs:[1], steps:[4]", Done(epochs=1, steps=4)),
        ("loss is 2", None),
        ("{ Epoch:[  1/  2], step:[ 99999999999999999999/   19], loss: 10.633", None),
        ("{ step: 3 }", None),
        ("", None),
    ],
)
def test_a_line_of_each_format(line: str, expected: object) -> None:
    assert parse(line) == expected
    assert parse(line.encode() + b"\n") == expected


def test_a_pattern_of_the_user() -> None:
    pattern = log_pattern(
        r"Train: (?P<epoch_from_0>\d+) \[ *(?P<step_from_0>\d+)/(?P<steps_per_epoch>\d+).*"
        r"Loss: (?P<loss>\S+) .*Time: (?P<step_time_s>[\d.]+)s, *(?P<images_per_s>[\d.]+)/s"
        r"(?: LR: (?P<learning_rate>\S+))?"
    )
    line = "Train: 2 [  50/1251 (  4%)]  Loss: 6.94 (6.95)  Time: 0.200s, 640.25/s LR: 1.0e-4"
    expected = StepReport(
        epoch=2,
        step=50,
        steps_per_epoch=1251,
        loss=6.94,
        step_time_ms=200.0,
        images_per_s=640.25,
        learning_rate=1e-4,
    )
    assert parse(line, pattern) == expected
    assert parse(line.partition(" LR")[0], pattern) == StepReport(
        **{**vars(expected), "learning_rate": None}
    )


def test_with_a_pattern_other_step_lines_are_no_steps_and_other_reports_stay() -> None:
    pattern = log_pattern(r"^it (?P<step>\d+) (?P<loss>\S+)")
    assert parse("it 5 0.5", pattern) == StepReport(epoch=0, step=4, loss=0.5)
    assert parse("it 5 nothing", pattern) is None
    assert parse("epoch: 1 step: 100, loss is 0.1", pattern) is None
    assert parse(MINDFORMERS, pattern) is None
    assert parse("done: epochs:[1], steps:[4]", pattern) == Done(epochs=1, steps=4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"step (?P<step>\d+", "not a regular expression: missing ), unterminated subpattern"),
        (r"step (?P<stepp>\d+)", "unknown group 'stepp'; did you mean 'step'?"),
        (r"(?P<step>\d+) (?P<zzz>\d+)", "unknown group 'zzz'; groups: epoch, epochs, step"),
        (r"loss (?P<loss>\S+)", r"has no group for the step; add (?P<step>\d+)"),
    ],
)
def test_a_pattern_that_is_wrong_says_what_to_change(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        log_pattern(text)


def test_long_lines_are_not_searched() -> None:
    slow = log_pattern(r"(x+x+)+y(?P<step>\d+)")
    started = time.process_time()
    assert parse("x" * (MAX_LINE_CHARS + 1), slow) is None
    assert parse(b"{ step:[" * 100_000) is None
    assert time.process_time() - started < 5  # CPU


def filled(lines: Sequence[str], times: Sequence[float | None] = ()) -> list[StepReport]:
    filler = StepFiller(world_size=4)
    known = [*times, *[None] * (len(lines) - len(times))]
    found = [filler.fill(parse(line), at) for line, at in zip(lines, known, strict=True)]
    return [report for report in found if isinstance(report, StepReport)]


def loss_monitor(*steps: tuple[int, int]) -> list[str]:
    return [f"epoch: {epoch} step: {step}, loss is 1.0" for epoch, step in steps]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Every step: the first epoch's highest step is the length of an epoch.
        (loss_monitor((1, 1), (1, 2), (1, 3), (2, 1), (2, 2)), [0, 1, 2, 3, 4]),
        # Every second step of 5: LossMonitor continues to count in the next epoch.
        (loss_monitor((1, 2), (1, 4), (2, 1), (2, 3), (2, 5), (3, 2)), [1, 3, 4, 6, 9, 11]),
        # TimeMonitor reports how long an epoch is.
        (
            [
                *loss_monitor((1, 2), (1, 4)),
                "Train epoch time: 50.000 ms, per step time: 10.000 ms",
                *loss_monitor((2, 1), (2, 5)),
            ],
            [1, 3, 5, 9],
        ),
        # It began in a later epoch: what came before is not known.
        (loss_monitor((6, 1), (6, 2), (7, 1)), [0, 1, 12]),
    ],
)
def test_global_steps_of_lines_that_name_no_length(lines: list[str], expected: list[int]) -> None:
    steps = [
        report.step if report.global_step is None else report.global_step
        for report in filled(lines)
    ]
    assert steps == expected


def test_steps_between_two_lines_are_counted() -> None:
    assert [report.steps for report in filled(loss_monitor((1, 10), (1, 20), (1, 21)))] == [
        1,
        10,
        1,
    ]


def test_a_job_that_started_again_counts_on() -> None:
    found = filled(loss_monitor((1, 1), (1, 9), (1, 2), (1, 4)), [1.0, 9.0, 20.0, 21.0])
    assert [report.steps for report in found] == [1, 8, 1, 2]
    assert [report.step_time_ms for report in found] == [None, 1000.0, 1000.0, 500.0]


def test_the_time_of_a_step_comes_from_the_times_of_the_lines() -> None:
    lines = loss_monitor((1, 1), (1, 2), (1, 3), (1, 7))
    # The first two were read together.
    found = filled(lines, [10.0, 10.0, 11.0, 12.0])
    assert [report.step_time_ms for report in found] == [None, None, 500.0, 250.0]


def test_of_lines_without_times_it_comes_from_time_monitor() -> None:
    lines = [
        *loss_monitor((1, 1), (1, 2)),
        "Train epoch time: 50.000 ms, per step time: 25.000 ms",
        *loss_monitor((2, 1)),
    ]
    assert [report.step_time_ms for report in filled(lines)] == [None, None, 25.0]


def test_throughput_of_mindformers_is_of_all_ranks() -> None:
    second = MINDFORMERS.replace("    2/", "    3/")
    lines = [MINDFORMERS, " 0.0% |  | 2.50000 samples/s/p  0:07:47 }", second]
    assert [report.images_per_s for report in filled(lines)] == [None, 10.0]


def test_a_line_keeps_its_own_values() -> None:
    own = (
        "epoch: [  0/ 20], step:[    3/   45], loss:[2.3/2.4], time:[941.315], images/s:[34.0], "
        "steps:[4]"
    )
    assert filled([*loss_monitor((1, 1)), own], [1.0, 2.0])[1] == parse(own)


def test_the_page_has_every_group_and_its_lines_are_understood() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name in GROUPS if f"`{name}`" not in text] == []
    examples = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    assert len(examples) >= 5
    assert [line for line in examples if parse(line) is None] == []
