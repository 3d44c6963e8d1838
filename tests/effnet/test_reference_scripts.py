"""scripts/train.py, eval.py, export.py and infer_onnx.py take the reference's command lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Of its README, or what the README describes; each ends before it needs MindSpore.
COMMANDS = [
    (
        "train.py --dataset_path none --dataset_target GPU --print_config",
        0,
        'device_target = "GPU"',
    ),
    ("train.py --dataset_path none --run_distribute True --print_config", 0, "class_num = 1000"),
    ("eval.py 0 none.ckpt data Ascend", 5, "none.ckpt: no such file"),
    ("eval.py --dataset_path data --checkpoint_path none.ckpt", 5, "none.ckpt: no such file"),
    (
        "export.py --checkpoint_path none.ckpt --file_name x --width 260 --height 260"
        " --file_format MINDIR",
        5,
        "none.ckpt: no such file",
    ),
    ("infer_onnx.py --onnx_path none.onnx --dataset_path nowhere", 3, "nowhere does not exist"),
]


@pytest.mark.parametrize("folder", [ROOT, ROOT / "scripts"], ids=["root", "scripts"])
@pytest.mark.parametrize(("line", "code", "said"), COMMANDS)
def test_the_command_line_is_understood(folder: Path, line: str, code: int, said: str) -> None:
    script, *words = line.split()
    path = script if folder.name == "scripts" else f"scripts/{script}"
    # Isolated from an installed package: the checkout's own is used.
    done = subprocess.run(
        [sys.executable, path, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
