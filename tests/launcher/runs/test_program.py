"""Training scripts of any kind as runs: start, death, hang, stop, resume."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher import client
from launcher.errors import CheckpointError, SettingsError, UsageError
from launcher.machine.facts import MASTER_PORTS
from launcher.store import run_lock
from tests.launcher.conftest import Lab

PROGRAMS = Path(__file__).parents[2] / "programs"
SCRIPT = PROGRAMS / "loss_monitor.py"
PROFILE = """\
name = "script"
device_target = "CPU"
start_method = "cluster"

[[nodes]]
address = "127.0.0.1"
slots = 2

[program]
command = {command}
rank_variables = "torch"
{program}

[limits]
supervisor_restart_s = 600
{limits}

[retry]
{retry}
"""


class Scripts:
    """Starts `tests/programs/loss_monitor.py` in the lab's folder."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made = lab.folder / "made"
        self.made.mkdir()

    def profile(
        self, *words: str, script: Path = SCRIPT, python: str = sys.executable, **tables: str
    ) -> client.Profile:
        command = [python, str(script), str(self.made), *words]
        parts = {"limits": "", "retry": "", "program": f'checkpoints = "{self.made}/*.ckpt"'}
        path = self.lab.folder / "script.toml"
        path.write_text(PROFILE.format(command=json.dumps(command), **{**parts, **tables}))
        return client.find_profile(str(path))

    def start(self, *words: str, **more: Any) -> Path:
        request = client.StartRequest(preflight=False)
        return self.lab.runs / client.start(self.profile(*words, **more), request)

    def with_reporter(self, name: str) -> Path:
        """A script in a folder with `effnet-launch reporter -o effnet_reporter.py`."""
        folder = self.lab.folder / "scripts"
        folder.mkdir(exist_ok=True)
        done = self.lab.command("reporter", "-o", str(folder / "effnet_reporter.py"))
        assert done.returncode == 0, done.stderr
        return Path(shutil.copy(PROGRAMS / name, folder))

    def log(self, root: Path, rank: int, attempt: int = 1) -> str:
        return self.lab.log(root, rank, attempt).decode()


@pytest.fixture
def scripts(lab: Lab) -> Scripts:
    return Scripts(lab)


def test_a_script_runs_where_the_command_was_typed_and_as_without_us(scripts: Scripts) -> None:
    lab = scripts.lab
    scripts.profile()
    command = ["--", sys.executable, str(SCRIPT), str(scripts.made), "epochs=2"]
    done = lab.command("start", str(lab.folder / "script.toml"), "--no-preflight", "-f", *command)
    assert done.returncode == 0, done.stderr + done.stdout
    root = next(lab.runs.iterdir())
    for rank in range(2):
        head = scripts.log(root, rank).splitlines()[0]
        for part in (f"'RANK': '{rank}'", "'WORLD_SIZE': '2'", f"'LOCAL_RANK': '{rank}'"):
            assert part in head
        port = re.search(r"'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '(\d+)'", head)
        assert port is not None
        assert int(port[1]) in MASTER_PORTS
        # Our own modules and settings of Python are not the script's.
        assert "'PYTHONSAFEPATH': None" in head
        assert f"in {Path.cwd()} from scratch ['epochs=2']" in head
    snapshot = client.open_run(str(root)).poll()
    assert snapshot.status.value == "finished"
    # The script does not say how many steps there will be.
    assert f"{root.name}  8 steps" in lab.command("status", str(root)).stdout
    assert [rank.loss for rank in snapshot.ranks] == [pytest.approx(1 / 8)] * 2
    assert json.loads((root / "run.json").read_text())["command"][-5:] == command
    with pytest.raises(UsageError, match=r"does not apply .* bundled trainer"):
        client.start_job(str(root), client.JobRequest("eval"))


def test_a_rank_that_raises_is_the_cause_and_the_run_resumes(scripts: Scripts) -> None:
    lab = scripts.lab
    root = scripts.start("fail=1:3", "pause=0.05")
    failed = lab.wait_for(root, "attempt_failed")["failure"]
    assert (failed["rank"], failed["kind"]) == (1, "crash")
    assert "the loss exploded" in failed["meaning"] + str(failed)
    # Until then rank 0 may still save.
    lab.until(lambda: not run_lock.is_supervised(root))
    newest = sorted(scripts.made.glob("*.ckpt"))[-1]
    choice = client.resume_choice(str(root))
    assert (choice.path, choice.place) == (str(newest), newest.name)
    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "attempt_finished")
    assert f"from {newest}" in scripts.log(root, 1, attempt=2)


def test_a_script_is_resumed_by_its_own_command_and_automatically(scripts: Scripts) -> None:
    again = json.dumps([sys.executable, str(SCRIPT), str(scripts.made), "epochs=1", "{checkpoint}"])
    root = scripts.start(
        "fail=0:2",
        program=f'checkpoints = "{scripts.made}/*.ckpt"\nresume_command = {again}',
        retry="auto_resume = 1",
    )
    scripts.lab.wait_for(root, "attempt_finished")
    head = scripts.log(root, 0, attempt=2).splitlines()[0]
    assert head.endswith(f"['epochs=1', '{scripts.made}/epoch-1.ckpt']")


def test_attempts_without_a_new_checkpoint_are_given_up(scripts: Scripts) -> None:
    (scripts.made / "epoch-0.ckpt").write_text("weights")
    root = scripts.start(
        "fail=0:1",
        program='resume_command = ["sh", "-c", "exit 3"]\ncheckpoints = "nothing/*.ckpt"',
        retry="auto_resume = 9",
    )
    assert "saved no checkpoint" in scripts.lab.wait_for(root, "gave_up")["why"]
    with pytest.raises(CheckpointError, match=r"no checkpoint matches nothing/\*\.ckpt"):
        client.resume(str(root), client.ResumeRequest(preflight=False))


@pytest.mark.parametrize("saves", [False, True])
def test_stop_is_sigterm_for_a_script_without_the_reporter(scripts: Scripts, saves: bool) -> None:
    words = ("pause=0.1", "epochs=999", *(["save"] if saves else []))
    root = scripts.start(*words, limits="stop_save_s = 60\nterm_s = 0.1")
    scripts.lab.wait_for(root, "training_started")
    # Both have come as far as their first line, behind their handler of SIGTERM.
    logs = [root / f"attempts/001/ranks/{rank:04d}/log.txt" for rank in range(2)]
    scripts.lab.until(lambda: all(x.exists() and b"loss is" in x.read_bytes() for x in logs))
    client.stop(str(root))
    scripts.lab.wait_for(root, "attempt_stopped")
    assert client.open_run(str(root)).poll().status.value == "stopped"
    assert len(list(scripts.made.glob("stopped-*"))) == (2 if saves else 0)


def test_a_script_that_prints_nothing_any_more_is_silent(scripts: Scripts) -> None:
    root = scripts.start(
        "hang=1:3",
        "epochs=999",
        "pause=0.05",
        limits="silent_min_s = 4",
        retry='on_silent = "stop"',
    )
    silent: dict[str, Any] = scripts.lab.wait_for(root, "rank_silent")
    assert (silent["rank"], silent["phase"]) == (1, "compute")
    assert silent["why"] == "it prints nothing"
    failed = scripts.lab.wait_for(root, "attempt_failed")["failure"]
    assert (failed["rank"], failed["kind"]) == (1, "hang")


def test_settings_of_the_trainer_are_refused(scripts: Scripts) -> None:
    request = client.StartRequest(settings=(("lr_max", "1"),), preflight=False)
    with pytest.raises(SettingsError) as error:
        client.start(scripts.profile(), request)
    assert "write it into the command" in str(error.value)


def test_a_script_with_the_reporter_saves_on_stop_and_continues(scripts: Scripts) -> None:
    lab, script = scripts.lab, scripts.with_reporter("reporting.py")
    glob = f'checkpoints = "{scripts.made}/state-*.txt"'
    root = scripts.start("4000", "0.02", script=script, program=glob, limits="term_s = 0.1")
    lab.wait_for(root, "checkpoint_saved")
    client.stop(str(root))
    lab.wait_for(root, "attempt_stopped")
    exits = lab.events(root, "rank_exited")
    assert [(event["exit_code"], event["was_done"]) for event in exits] == [(0, True)] * 2
    saved = client.open_run(str(root)).poll_state().checkpoints[-1]
    saves = len(lab.events(root, "checkpoint_saved"))
    # It was stopped in the middle of an epoch, with a checkpoint of the last step.
    stops = [line for line in scripts.log(root, 0).splitlines() if line.startswith("stop: ")]
    assert f"step:[{saved.step}]" in stops[0]
    assert "stop file" in stops[0]
    # What the script did not report may be half written.
    (scripts.made / "state-9999.txt").write_text("4")
    choice = client.resume_choice(str(root))
    assert (choice.path, choice.step) == (saved.path, saved.step)
    assert [skipped.why for skipped in choice.skipped] == [
        "the script did not report it as complete"
    ]
    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "checkpoint_saved", count=saves + 1)
    client.stop(str(root))
    lab.wait_for(root, "attempt_stopped", count=2)
    assert lab.check_metrics(root, 1, attempt=2)[0] == saved.step


def test_the_reporter_shows_which_rank_hangs(scripts: Scripts) -> None:
    lab, script = scripts.lab, scripts.with_reporter("reporting.py")
    root = scripts.start("4000", "0.02", script=script, limits="silent_min_s = 4")
    lab.wait_for(root, "checkpoint_saved")
    psutil.Process(lab.pid_of(root, 1)).suspend()
    silent = lab.wait_for(root, "rank_silent")
    assert silent["rank"] == 1
    assert "stopped" in silent["why"]
    psutil.Process(lab.pid_of(root, 1)).resume()
    client.stop(str(root), client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


TORCH = os.environ.get("EFFNET_TORCH_PYTHON", "")
"""An interpreter with PyTorch; empty: this one, where it has PyTorch."""
HAS_TORCH = bool(TORCH) or importlib.util.find_spec("torch") is not None
DDP = {"script": PROGRAMS / "ddp.py", "python": TORCH or sys.executable}


@pytest.mark.slow
@pytest.mark.skipif(
    not HAS_TORCH,
    reason="PyTorch is not installed: pip install torch, or set EFFNET_TORCH_PYTHON",
)
def test_a_plain_ddp_script_dies_stops_and_resumes(scripts: Scripts) -> None:
    lab = scripts.lab
    program = (
        f'checkpoints = "{scripts.made}/*.pt"\n'
        "log_pattern = '^Epoch (?P<epoch>\\d+)/(?P<epochs>\\d+) iter (?P<step>\\d+)/"
        "(?P<steps_per_epoch>\\d+) loss=(?P<loss>\\S+)'"
    )
    unbroken = scripts.start("6", "0", **DDP, program='log_pattern = ""')
    lab.wait_for(unbroken, "attempt_finished", timeout_s=120)
    expected = [line for line in scripts.log(unbroken, 0).splitlines() if "weights" in line]
    for path in scripts.made.glob("*.pt"):
        path.unlink()

    root = scripts.start("6", "0.3", **DDP, program=program)
    lab.until(lambda: list(scripts.made.glob("*.pt")), 120)
    psutil.Process(lab.pid_of(root, 1)).kill()
    failed = lab.wait_for(root, "attempt_failed")["failure"]
    # Rank 0 lost its connection to rank 1, which is not the cause.
    assert (failed["rank"], failed["signal"]) == (1, signal.SIGKILL)
    started = lab.events(root, "training_started")[-1]
    assert (started["epochs"], started["steps_per_epoch"]) == (6, 5)

    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "training_started", count=2, timeout_s=120)
    client.stop(str(root))
    lab.wait_for(root, "attempt_stopped")
    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "attempt_finished", timeout_s=120)
    assert [line for line in scripts.log(root, 0, 3).splitlines() if "weights" in line] == expected


@pytest.mark.mindspore
@pytest.mark.slow
def test_a_plain_mindspore_script_dies_and_resumes(scripts: Scripts) -> None:
    lab = scripts.lab
    script: dict[str, Any] = {"script": PROGRAMS / "plain_mindspore.py"}
    profile = scripts.profile("4000", **script, program=f'checkpoints = "{scripts.made}/*.ckpt"')
    path = lab.folder / "script.toml"
    path.write_text(path.read_text().replace('rank_variables = "torch"', ""))
    assert profile.program is not None
    root = lab.runs / client.start(str(path), client.StartRequest(preflight=False))
    lab.until(lambda: len(list(scripts.made.glob("*.ckpt"))) > 1, 180)
    psutil.Process(lab.pid_of(root, 1)).kill()
    failed = lab.wait_for(root, "attempt_failed")["failure"]
    assert (failed["rank"], failed["signal"]) == (1, signal.SIGKILL)
    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "training_started", count=2, timeout_s=180)
    choice = client.open_run(str(root)).poll_state().attempts[1].resume
    assert choice is not None
    assert Path(choice.path).parent == scripts.made
    reader = client.open_run(str(root))
    lab.until(lambda: all(rank.step_time_ms for rank in reader.poll().ranks))
    client.stop(str(root))
    lab.wait_for(root, "attempt_stopped")
    assert all(rank.loss is not None for rank in reader.poll().ranks)
