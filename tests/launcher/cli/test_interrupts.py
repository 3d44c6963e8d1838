"""The client's terminal closes, or its user presses Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

import psutil
import pytest

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


def goes_on(lab, root, stops=1):
    """It trains on, and can be stopped."""
    lab.wait_for(root, "epoch_finished", count=len(lab.events(root, "epoch_finished")) + 1)
    client.stop(root)
    ends = ("attempt_stopped", "attempt_failed")
    assert lab.wait_for(root, *ends, count=stops)["kind"] == "attempt_stopped"


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
    # Where it is printed depends on how far the command is: it may still wait for the supervisor.
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=interruptible,
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


STOPS_ITSELF = """\
import os, signal, sys
if "{module}" in sys.orig_argv:
    open("{folder}/pid", "w").write(str(os.getpid()))
    os.rename("{folder}/pid", "{folder}/stopped")
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def interrupted(lab, tmp_path):
    """Runs a command and presses Ctrl-C after it has started a process of this module, which has
    done nothing yet. -> what the command prints.
    """

    def run(module, *arguments):
        stopped = tmp_path / "stopped"
        stopped.unlink(missing_ok=True)
        text = STOPS_ITSELF.format(module=module, folder=tmp_path)
        (tmp_path / "sitecustomize.py").write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher.cli.app", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=interruptible,
        )
        try:
            lab.until(stopped.exists)
            child = psutil.Process(int(stopped.read_text()))
            # Continued before it stops, it would stop for ever.
            lab.until(lambda: child.status() == psutil.STATUS_STOPPED)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            child.resume()
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
        assert process.returncode == 130
        assert output.index("as soon as it is known") < output.index("interrupted: ")
        return output

    return run


def test_ctrl_c_while_a_supervisor_starts(lab, interrupted):
    profile = str(lab.profile(epochs=5000))
    output = interrupted("launcher.supervisor", "start", profile, "--no-preflight")
    (root,) = lab.runs.iterdir()
    assert f"run {root.name} continues" in output
    lab.wait_for(root, "checkpoint_saved")
    client.stop(root)
    lab.wait_for(root, "attempt_stopped")
    output = interrupted("launcher.supervisor", "resume", root.name, "--no-preflight")
    assert f"the resume of {root.name} continues" in output
    lab.wait_for(root, "training_started", count=2)
    goes_on(lab, root, stops=2)


def test_ctrl_c_while_a_job_starts(lab, interrupted):
    root = lab.start(epochs=2)
    lab.wait_for(root, "attempt_finished")
    output = interrupted("launcher.jobs.runner", "export", root.name)
    assert "job 001-export continues" in output
    lab.wait_for(root, "job_finished")
