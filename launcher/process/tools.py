"""Programs that only report, such as npu-smi: their paths and output."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

PROGRAM_LIMIT_S = 30.0
ELSEWHERE = (
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/local/Ascend/driver/tools",
)
"""Where drivers put their tools, which may not be on PATH."""


def program(name: str, environment: Mapping[str, str]) -> str | None:
    """The path of a program on the environment's PATH, or where drivers put theirs."""
    places = [environment.get("PATH", os.defpath), *ELSEWHERE]
    return shutil.which(name, path=os.pathsep.join(places))


def output(
    argv: Sequence[str], environment: Mapping[str, str], timeout_s: float = PROGRAM_LIMIT_S
) -> tuple[str, str]:
    """(stdout, what went wrong) of a program that only reports."""
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        return "", f"{argv[0]}: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return "", f"{argv[0]} did not answer within {timeout_s:g} s"
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        errors = (done.stderr.decode("utf-8", "replace").strip() or text.strip()).splitlines()
        why = errors[-1] if errors else "no output"
        return text, f"{os.path.basename(argv[0])} exited with {done.returncode}: {why}"
    return text, ""
