"""Checkpoints in the background: what a save waits for, and what a kill leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from effnet.contract.report import SavedCheckpoint
from effnet.optim.pieces import Floats
from effnet.train.checkpoint import CheckpointFailed, CheckpointFolder
from effnet.train.saver import Saver

ROOT = Path(__file__).parents[2]


class SlowFolder(CheckpointFolder):
    """A disk that waits for `go`, and keeps what it was given when it went on."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), keep=1)
        self.go = threading.Event()
        self.written: list[float] = []

    def save(self, tensors: Mapping[str, Floats], **facts: Any) -> SavedCheckpoint:
        assert self.go.wait(300)
        if np.isnan(tensors["a"][0]):
            raise CheckpointFailed("not finite")
        self.written.append(float(tensors["a"][0]))
        return SavedCheckpoint(Path("x"), facts["step"], 0, 0, "", facts["pause_ms"], 0.0)


def test_a_save_takes_a_copy_and_waits_only_for_the_one_before() -> None:
    folder, reported, state = SlowFolder(), list[int](), {"a": np.ones(3, np.float32)}
    saver = Saver(folder, lambda saved: reported.append(saved.step))
    saver.save(state, step=1)
    state["a"][...] = 2  # training goes on while the disk waits
    saver.look()
    assert reported == []
    second = threading.Thread(target=saver.save, args=(state,), kwargs={"step": 2})
    second.start()
    second.join(0.2)
    assert second.is_alive()
    folder.go.set()
    second.join(300)
    assert reported == [1]
    saver.wait()
    assert reported == [1, 2]
    assert folder.written == [1.0, 2.0]
    saver.wait()
    assert reported == [1, 2]


def test_a_failure_to_write_is_raised_once_by_what_is_called_next() -> None:
    folder = SlowFolder()
    folder.go.set()
    saver = Saver(folder, lambda saved: None)
    saver.save({"a": np.full(3, np.nan, np.float32)}, step=1)
    with pytest.raises(CheckpointFailed, match="not finite"):
        saver.wait()
    saver.save({"a": np.ones(3, np.float32)}, step=2)
    saver.wait()
    assert folder.written == [1.0]


def test_a_killed_save_leaves_whole_checkpoints_or_none() -> None:
    command = [sys.executable, "-m", "tests.effnet.save_kills", "--count", "6", "--mb", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "whole" in done.stdout
