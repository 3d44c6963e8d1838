"""Training scripts of any kind as runs: start, death, hang, stop, resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher import client
from launcher.errors import CheckpointError, SettingsError, UsageError
from tests.launcher.conftest import Lab

SCRIPT = Path(__file__).parents[2] / "programs/loss_monitor.py"
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

    def profile(self, *words: str, **tables: str) -> client.Profile:
        command = [sys.executable, str(SCRIPT), str(self.made), *words]
        parts = {"limits": "", "retry": "", "program": f'checkpoints = "{self.made}/*.ckpt"'}
        path = self.lab.folder / "script.toml"
        path.write_text(PROFILE.format(command=json.dumps(command), **{**parts, **tables}))
        return client.find_profile(str(path))

    def start(self, *words: str, **tables: str) -> Path:
        request = client.StartRequest(preflight=False)
        return self.lab.runs / client.start(self.profile(*words, **tables), request)

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
        assert "'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '2" in head
        # Our own modules and settings of Python are not the script's.
        assert "'PYTHONSAFEPATH': None" in head
        assert f"in {Path.cwd()} from scratch ['epochs=2']" in head
    snapshot = client.open_run(str(root)).poll()
    assert snapshot.status.value == "finished"
    assert [rank.loss for rank in snapshot.ranks] == [pytest.approx(1 / 8)] * 2
    assert json.loads((root / "run.json").read_text())["command"][-5:] == command
    with pytest.raises(UsageError, match="does not apply .* bundled trainer"):
        client.start_job(str(root), client.JobRequest("eval"))


def test_a_rank_that_raises_is_the_cause_and_the_run_resumes(scripts: Scripts) -> None:
    lab = scripts.lab
    root = scripts.start("fail=1:3", "pause=0.05")
    failed = lab.wait_for(root, "attempt_failed")["failure"]
    assert (failed["rank"], failed["kind"]) == (1, "crash")
    assert "the loss exploded" in failed["meaning"] + str(failed)
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
    client.stop(str(root))
    scripts.lab.wait_for(root, "attempt_stopped", timeout_s=30)
    assert client.open_run(str(root)).poll().status.value == "stopped"
    assert len(list(scripts.made.glob("stopped-*"))) == (2 if saves else 0)


def test_a_script_that_prints_nothing_any_more_is_silent(scripts: Scripts) -> None:
    root = scripts.start(
        "hang=1:3",
        "epochs=999",
        "pause=0.05",
        limits="silent_min_s = 2",
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
