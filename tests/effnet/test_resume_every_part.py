"""A resume with every part of a step on ends with the bits of a run that was not interrupted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from effnet.__main__ import main
from effnet.optim import loss_scale
from effnet.weights.files import read_tensors

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0", "one_process")]

SETTINGS = {
    "variant": "b0",
    "class_num": 10,
    "image_size": 32,
    "batch_size": 4,
    "accumulation_steps": 2,
    "mixup": 0.5,
    "cutmix": 1.0,
    "clip_norm": 0.5,
    "dynamic_loss_scale": True,
    # Float32 gradients overflow at first.
    "loss_scale": 2.0**127,
    "ema_decay": 0.9,
    "mode": "pynative",
    "auto_augment": "none",
    "num_workers": 1,
    "interval": 0,
    "epoch_size": 2,
    "warmup_epochs": 0,
}


def test_accumulation_mixup_clipping_and_skipped_steps_are_resumed_exactly(
    thirty_digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(folder: Path, *more: str) -> str:
        own = {"dataset_path": thirty_digits, "save_checkpoint_path": folder, **SETTINGS}
        assert main(["train", *(f"--set={k}={v}" for k, v in own.items()), *more]) == 0
        return capfd.readouterr().out

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    first = train(whole)
    resumed.mkdir()
    for file in whole.glob("*00000003.ckpt*"):
        shutil.copy(file, resumed)
    second = train(resumed, "--resume=auto")
    assert "resume: epoch:[1], step:[3]" in second

    states = [re.findall(r"done: .*state:\[(\w+)\]", said) for said in (first, second)]
    assert len(states[0]) == 1, first[-1500:] + second[-1500:]
    assert states[0] == states[1]
    last, again = (read_tensors(next(folder.glob("*00000006.ckpt"))) for folder in (whole, resumed))
    assert last.keys() == again.keys()
    assert all(last[name].tobytes() == again[name].tobytes() for name in last)
    scale, _, skipped = last[loss_scale.NAME].tolist()
    assert 0 < skipped < 6
    assert scale == 2.0 ** (127 - skipped)
    assert np.isfinite(last["classifier.weight"]).all()
