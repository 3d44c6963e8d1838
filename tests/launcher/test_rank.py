"""`python -m launcher.rank` becomes the rank's program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def rank(*arguments: str, token: str = "t/001") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EFFNET_TOKEN": token}
    argv = [sys.executable, "-m", "launcher.rank", *arguments]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=False, cwd=Path.cwd()
    )


def test_a_rank_execs_its_program(tmp_path):
    log = tmp_path / "a log 'with' quotes.txt"
    log.write_text("before\n")
    code = "import os,sys; print(os.getsid(0) == os.getpid(), os.sched_getaffinity(0), flush=True);"
    code += "print(os.environ['EFFNET_HEARTBEAT'], os.getcwd(), file=sys.stderr, flush=True);"
    code += "print(os.environ['EFFNET_CPUS_BOUND'])"
    cpu = min(os.sched_getaffinity(0))
    done = rank(
        "--log",
        str(log),
        "--heartbeat",
        "beat",
        "--cwd",
        str(tmp_path),
        "--cpus",
        str(cpu),
        "--",
        sys.executable,
        "-c",
        code,
    )
    assert done.returncode == 0
    assert log.read_text() == f"before\nTrue {{{cpu}}}\nbeat {tmp_path}\n1\n"


@pytest.mark.parametrize(
    ("program", "code"), [("/no/such/program", 127), ("no-such-program", 127), ("/etc", 126)]
)
def test_a_rank_with_a_missing_program_logs_it(tmp_path, program, code):
    log = tmp_path / "log.txt"
    assert rank("--log", str(log), "--", program).returncode == code
    assert log.read_text().startswith("fault: kind:[config], text:[")


def test_a_rank_without_a_token_or_with_a_dead_parent_does_not_start(tmp_path):
    log = tmp_path / "log.txt"
    assert rank("--log", str(log), "--", "true", token="").returncode == 2
    assert rank("--log", str(log), "--parent", "1", "--", "true").returncode == 143
    assert not log.exists()
