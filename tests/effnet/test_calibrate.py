"""`calibrate_steps`: a few steps and evaluated batches are timed, and nothing is saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from effnet.__main__ import main
from launcher.core.run.report import parse
from launcher.core.run.report_types import Calibrated

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0", "one_process")]


def arguments(images: Path, folder: Path, **more: object) -> list[str]:
    settings = {
        "variant": "b0",
        "class_num": 10,
        "image_size": 32,
        "eval_resize": 32,
        "batch_size": 4,
        "mode": "pynative",
        "auto_augment": "none",
        "num_workers": 1,
        "epoch_size": 1,
        "warmup_epochs": 0,
        "dataset_path": images,
        "save_checkpoint_path": folder / "checkpoint",
        **more,
    }
    return ["train", *(f"--set={key}={value}" for key, value in settings.items())]


def test_the_last_line_says_what_a_step_and_an_evaluation_take(
    thirty_digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(thirty_digits, tmp_path, calibrate_steps=2)) == 0
    lines = capfd.readouterr().out.splitlines()
    found = parse(lines[-1])
    assert isinstance(found, Calibrated)
    assert (found.steps, found.steps_per_epoch) == (2, 7)
    assert found.step_time_ms
    assert found.evaluation_ms
    assert found.feed_images_per_s
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not any(line.startswith(("done:", "epoch")) for line in lines)


def test_too_few_steps_are_an_error_that_says_so(
    thirty_digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(thirty_digits, tmp_path, calibrate_steps=2, batch_size=15)) != 0
    assert "a calibration needs more than 4 steps, the run has 2" in capfd.readouterr().err
