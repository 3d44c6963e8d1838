"""The client's terminal closes, or its user presses Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios


def test_the_terminal_of_the_client_closes(lab):
    main, side = pty.openpty()

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(epochs=4, step_s=0.1)),
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
        assert process.wait(60) != 0
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"


def interruptible():
    """A shell that starts the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_prints_that_the_run_continues(lab):
    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(step_s=0.2)),
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
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"attach {root.name}" in output
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"


def test_ctrl_c_while_python_still_imports_prints_nothing(tmp_path):
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli", "runs"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=interruptible,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
