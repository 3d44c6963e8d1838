"""The C++ programs of cpp_infer, compiled as scripts/run_infer_cpp.sh does it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]


@functools.cache
def build(name: str) -> Path:
    done = subprocess.run(
        [PROJECT / "cpp_infer" / "build"], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    infer = Path(done.stdout.strip())
    assert infer.name == "effnet-infer"
    return infer.with_name(name)
