"""Ctrl-C while a command waits for something that does not answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launcher.cli.test_interrupts import interruptible
from tests.tui.made_run import MadeRun

BLOCKED = """\
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from launcher import client

def blocked(*arguments, **named):
    with ThreadPoolExecutor() as pool:
        pool.submit(lambda: (print("blocked", flush=True), threading.Event().wait())).result()

setattr(client, sys.argv.pop(1), blocked)
from launcher.cli.app import main
main()
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRun:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    made = MadeRun(tmp_path / "runs", "made-1", ranks=2, time_s=1.0, pid=0)
    made.start()
    made.steps(5)
    return made


def interrupted(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, and again where Python lost it: it does when its main thread is just about to wait.

    -> what it wrote to stderr.
    """
    try:
        for _ in range(10):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=20)[1]
        raise AssertionError("it does not end")
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("function", "argv", "expected"),
    [
        ("start", ["start", "local-cpu"], "no run was started"),
        ("resume", ["resume", "made-1"], "made-1 was not resumed; nothing is running"),
        ("stop", ["stop", "made-1"], "made-1 was not asked to stop"),
        ("start_job", ["eval", "made-1"], "no job was started"),
        ("find_leftovers", ["clean"], "nothing was ended or removed"),
        ("prune", ["prune", "--run", "made-1", "--yes"], "0 removed, 1 stay"),
    ],
)
def test_it_prints_what_was_not_done_and_waits_for_no_thread(
    run: MadeRun, function: str, argv: list[str], expected: str
) -> None:
    if function in ("resume", "prune"):
        run.fail(1)
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED, function, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        preexec_fn=interruptible,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "blocked\n"
        errors = interrupted(process)
    assert process.returncode == 130
    assert expected in errors
    assert "Traceback" not in errors
