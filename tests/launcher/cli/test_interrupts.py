"""The client's terminal closes, or its user presses Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

from launcher import client
from tests.launcher.conftest import LIMIT_S


def test_the_terminal_of_the_client_closes(lab):
    main, side = pty.openpty()

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(epochs=5000)),
        "-f",
    ]
    with subprocess.Popen(
        argv,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=take_terminal,
    ) as process:
        os.close(side)
        lab.until(lambda: lab.runs.is_dir() and any(lab.runs.iterdir()))
        root = next(lab.runs.iterdir())
        lab.wait_for(root, "training_started")
        os.close(main)
        assert process.wait(LIMIT_S) != 0
    goes_on(lab, root)


def goes_on(lab, root):
    """It trains on, and can be stopped."""
    lab.wait_for(root, "epoch_finished", count=len(lab.events(root, "epoch_finished")) + 1)
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def interruptible():
    """A shell that starts the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_prints_that_the_run_continues(lab):
    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(epochs=5000)),
        "--follow",
    ]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        lab.until(lambda: lab.runs.is_dir() and any(lab.runs.iterdir()))
        root = next(lab.runs.iterdir())
        lab.wait_for(root, "training_started")
        try:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"attach {root.name}" in output
    goes_on(lab, root)


def test_ctrl_c_while_python_still_imports_prints_nothing(tmp_path):
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli", "runs"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        preexec_fn=interruptible,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
