"""The walls between the rooms, seen from a fresh interpreter: what is loaded is what is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "effnet.__main__": ("launcher", "tui", "textual", "paramiko", "mindspore"),
    "effnet.train.loop": ("launcher", "tui", "textual", "paramiko"),
    "launcher.cli.app": ("effnet", "tui", "textual", "mindspore", "paramiko"),
    "launcher.client": ("effnet", "tui", "textual", "mindspore", "paramiko"),
    "launcher.rank": ("effnet", "tui", "textual", "mindspore", "paramiko", "pydantic"),
    "tui.app": ("effnet", "mindspore", "paramiko"),
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_importing_a_package_loads_nothing_of_a_higher_layer(module: str) -> None:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()).isdisjoint(FORBIDDEN[module])


def test_no_benchmark_hides_a_package() -> None:
    """A program's own folder comes first when Python looks for a module."""
    benchmarks = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert benchmarks
    assert benchmarks.isdisjoint({"launcher", "tui", "effnet", "tests"})
