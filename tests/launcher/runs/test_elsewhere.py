"""A run stays where it is: a resume with a profile whose runs are elsewhere is refused."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from launcher.cli.commands.preflight import printer
from launcher.core.checks.row import Row, RowState
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.core.run.requests import ResumeRequest, StartRequest
from launcher.errors import UsageError
from launcher.ipc import run_operations as op
from launcher.node import runs as node_runs
from launcher.reading.folders import RUNS_VARIABLE
from launcher.runs.base import Run
from launcher.runs.local import LocalRun
from launcher.runs.slurm import SlurmRun
from tests.tui.made_run import MadeRun

LOCAL = '[[nodes]]\naddress = "127.0.0.1"\nslots = 2\n'
AWAY = '[[nodes]]\naddress = "10.0.0.1"\nslots = 2\n'
SLURM = "[node_defaults]\nslots = 2\n[slurm]\nnodes = 1\n"
LOGIN = 'login_node = {address = "login.example.org"}\n'


def profile(method: str, tables: str, top: str = "") -> Profile:
    head = 'name = "other"\ndevice_target = "CPU"\n'
    return load_profile(f'{head}start_method = "{method}"\n{top}\n{tables}', "p.toml")


def run_of(folder: Path, known: Profile, kind: type[Run]) -> Run:
    made = MadeRun(folder, "made-1", ranks=2, time_s=time.time() - 100, pid=0)
    made.start()
    made.paths.profile.write_text(known.to_json())
    return kind(made.paths.root)


@pytest.mark.parametrize(
    ("known", "kind", "new", "why", "hint"),
    [
        (
            profile("cluster", LOCAL),
            LocalRun,
            profile("slurm", SLURM),
            "is not a run of Slurm",
            "start other --resume",
        ),
        (
            profile("slurm", SLURM),
            SlurmRun,
            profile("cluster", LOCAL),
            "is a run of Slurm",
            "start other --resume",
        ),
        (
            profile("slurm", SLURM),
            SlurmRun,
            profile("slurm", SLURM + LOGIN),
            "the runs of profile other are on login.example.org",
            "Leave out [slurm.login_node]",
        ),
        (
            profile("cluster", LOCAL),
            LocalRun,
            profile("cluster", AWAY, 'supervisor = "first-node"'),
            "the runs of profile other are on 10.0.0.1",
            'Leave out supervisor = "first-node"',
        ),
    ],
)
def test_a_resume_cannot_move_a_run(
    tmp_path: Path, known: Profile, kind: type[Run], new: Profile, why: str, hint: str
) -> None:
    run = run_of(tmp_path, known, kind)
    with pytest.raises(UsageError, match=why) as caught:
        run.next_attempt(ResumeRequest(preflight=False), new)
    assert hint in caught.value.hint


def test_a_runs_folder_that_both_machines_share_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path))
    copy = tmp_path / "made-1"
    copy.mkdir()
    (copy / "home.json").write_text("{}")
    known = profile("slurm", SLURM + LOGIN).to_json()
    with pytest.raises(UsageError, match="is the runs folder of the machine that starts the run"):
        node_runs.start(op.StartRun(known, "made-1", str(tmp_path), StartRequest(), ()))


def test_the_rows_of_a_login_node_and_of_slurm_are_told_apart() -> None:
    output = io.StringIO()
    show = printer(Console(file=output, width=200), profile("slurm", SLURM + LOGIN), quiet=False)
    show(Row("reachable", "login.example.org", RowState.OK, "SSH connects"))
    show(Row("slurm", "slurm", RowState.OK, "it answers"))
    first, second = output.getvalue().splitlines()
    assert first.endswith("login.example.org  SSH connects")
    assert second.split() == ["✓", "slurm", "slurm", "it", "answers"]
    assert first.index("SSH") == second.index("it answers")
