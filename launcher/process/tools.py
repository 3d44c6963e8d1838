"""Programs that only report, such as npu-smi: their paths and output."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    return shutil.which(os.path.expanduser(name), path=os.pathsep.join(places))


@dataclass(frozen=True)
class ProgramResult:
    """How a program ended; what is not UTF-8 in its output is replaced."""

    exit_code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeout_s: float = PROGRAM_LIMIT_S,
    *,
    stdin: bytes = b"",
    folder: str | None = None,
    in_terminal: bool = True,
) -> ProgramResult:
    """`in_terminal`: whether Ctrl-C in this process's terminal ends it, too.

    Raises `OSError` when it cannot be run, `TimeoutError` after `timeout_s`.
    """
    try:
        done = subprocess.run(
            [os.path.expanduser(argv[0]), *argv[1:]],
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            cwd=folder,
            start_new_session=not in_terminal,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]} did not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise OSError(f"{argv[0]}: {error.strerror or error}") from error
    stdout, stderr = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return ProgramResult(done.returncode, stdout, stderr)


def output(
    argv: Sequence[str], environment: Mapping[str, str], timeout_s: float = PROGRAM_LIMIT_S
) -> tuple[str, str]:
    """(stdout, what went wrong) of a program that only reports."""
    try:
        done = run(argv, environment, timeout_s)
    except OSError as error:
        return "", str(error)
    if done.exit_code:
        errors = (done.stderr.strip() or done.stdout.strip()).splitlines()
        why = errors[-1] if errors else "no output"
        return done.stdout, f"{os.path.basename(argv[0])} exited with {done.exit_code}: {why}"
    return done.stdout, ""
