"""Case 022: a path of a profile that begins with `~/` means the home of its node, everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.checks import probe
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import NodeFacts, RunContext
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Node
from launcher.errors import PlanError
from launcher.ipc import operations as op
from launcher.machine import facts as machine
from launcher.node import facts, files
from launcher.process import tools
from launcher.remote.connection import quoted

INPUTS = Path(__file__).with_name("inputs") / "022-tilde-in-python"
MPIRUN = """
    name = "a"
    device_target = "CPU"
    start_method = "mpirun"
    [node_defaults]
    python = "{python}"
    runs_directory = "{runs}"
    slots = 1
    [[nodes]]
    address = "10.0.0.1"
    {first}
    [[nodes]]
    address = "10.0.0.2"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    (folder / "venv/bin").mkdir(parents=True)
    tool = folder / "venv/bin/python"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_022_python_working_folder_and_arguments_of_a_rank_begin_at_home(home, tmp_path):
    (home / "work").mkdir()
    argv = [sys.executable, "-m", "launcher.rank", "--log", str(tmp_path / "log"), "--cwd"]
    argv += [
        "~/work",
        "--",
        "~/venv/bin/python",
        "-c",
        "import os, sys; print(os.getcwd(), sys.argv)",
    ]
    environment = {**os.environ, "EFFNET_TOKEN": "r/001", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([*argv, "~/data", "key=~/x"], env=environment, check=True, timeout=300)
    assert (tmp_path / "log").read_text() == f"{home}/work ['-c', '{home}/data', 'key=~/x']\n"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "csh", "tcsh", "fish"])
@pytest.mark.parametrize("name", ["plain", "with space", "it's", "bang!", "$x;y"])
def test_022_over_ssh_the_shell_expands_it(home, shell, name):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    command = quoted(
        [sys.executable, "-c", "import sys; print(sys.argv[1:])", f"~/{name}", "~x", "a~/"]
    )
    done = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[f'{home}/{name}', '~x', 'a~/']}\n"


def test_022_programs_and_folders_that_a_node_is_asked_about(home):
    assert tools.program("~/venv/bin/python", os.environ) == str(home / "venv/bin/python")
    assert tools.run(["~/venv/bin/python", "-c", "print(1)"]).stdout == "1\n"
    (home / "checkpoint").mkdir()
    (home / "checkpoint/a.onnx").write_bytes(b"")
    assert files.names(op.ListFiles("~/checkpoint")) == ("a.onnx",)
    (home / "data/train/ant").mkdir(parents=True)
    for path, folder in (("~/data", ""), ("data", "~"), ("data", "~/")):
        found = machine.data(path, folder)
        assert (found.path, [part.class_count for part in found.splits]) == (f"{home}/data", [1])
    answer = facts.get(op.GetFacts(runs_directory="~/runs", python="~/venv/bin/python"))
    assert (answer.runs_directory, answer.python) == (f"{home}/runs", f"{home}/venv/bin/python")


def test_022_the_plan_of_a_node_on_this_machine_names_its_python(home):
    from launcher.planning.attempt import plan_attempt

    profile = load_profile((INPUTS / "tl.toml").read_text(), "tl.toml")
    plan = plan_attempt(profile, "r", home / "r", 1)
    assert plan.ranks[0].argv[0] == str(home / "venv/bin/python")


def test_022_this_interpreter_is_known_by_its_path_from_home(monkeypatch):
    """A node on this machine is then asked without another process."""
    python = Path(sys.executable)
    monkeypatch.setenv("HOME", str(python.parents[1]))
    same = Node(address="127.0.0.1", python=f"~/{python.relative_to(python.parents[1])}")
    assert probe._is_own_interpreter(same)
    assert not probe._is_own_interpreter(Node(address="127.0.0.1", python="~/none/python"))


def test_022_mpirun_compares_paths_of_nodes_only_when_their_homes_are_known():
    text = MPIRUN.format(python="~/v/bin/python", runs="~/runs", first='transport = "local"')
    profile = load_profile(text, "a.toml")
    here = NodeFacts(run_directory="/home/a/runs/r", python="/home/a/v/bin/python")
    there = {"10.0.0.1": here, "10.0.0.2": here}
    context = RunContext("r", "/home/a/runs/r", ssh_config="/home/a/runs/r/ssh", master_port=5000)
    # `plan` asks no node.
    assert make_plan(profile, _with(context, {})).processes
    for known in ({"10.0.0.1": here}, there):
        plan = make_plan(profile, _with(context, known))
        mpirun = next(process for process in plan.processes if process.name == "mpirun")
        assert "/home/a/v/bin/python" in mpirun.argv
    for name, value in (("run_directory", "/home/b/runs/r"), ("python", "/home/b/v/bin/python")):
        other = NodeFacts(
            **{"run_directory": here.run_directory, "python": here.python, name: value}
        )
        with pytest.raises(PlanError, match="but these differ"):
            make_plan(profile, _with(context, {**there, "10.0.0.2": other}))


def _with(context, facts):
    from dataclasses import replace

    return replace(context, facts=facts)
