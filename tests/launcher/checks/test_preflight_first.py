"""The preflight as a command, and as what a start and a resume do first."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from launcher import client
from launcher.errors import BusyError


def test_the_command_and_a_refused_start(lab) -> None:
    path = str(lab.profile())
    done = lab.command("preflight", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ data" in done.stdout
    assert "ready: 8 checks" in done.stdout
    (lab.folder / "data").rename(lab.folder / "away")
    done = lab.command("preflight", path, "--json")
    assert done.returncode == 6
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert [row["check"] for row in found["rows"] if row["state"] == "failed"] == ["data"]
    assert lab.command("preflight", path, "--ignore", "data").returncode == 0
    assert "did you mean 'data'?" in lab.command("preflight", path, "--ignore", "dta").stderr
    done = lab.command("start", path)
    assert done.returncode == 6
    assert "--ignore data" in done.stderr
    assert not lab.runs.exists()
    for words in (("--ignore", "data"), ("--no-preflight",)):
        assert lab.command("start", path, *words, "--follow").returncode == 0
    assert len(list(lab.runs.iterdir())) == 2


def test_a_red_check_stops_a_resume_before_it_changes_anything(lab) -> None:
    root = lab.start({"rank": 1, "step": 14, "do": "hang", "attempt": 1})
    # A live run is refused as busy, without its own processes as a red row.
    looked: list[object] = []
    with pytest.raises(BusyError):
        client.resume(root, on_rows=looked.append)
    assert looked == []
    lab.wait_for(root, "checkpoint_saved")
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    lab.wait_for(root, "attempt_failed")
    (lab.folder / "data").rename(lab.folder / "away")
    done = lab.command("resume", root.name)
    assert done.returncode == 6
    assert "nothing was resumed: 1 check of the preflight failed" in done.stderr
    assert "data on 127.0.0.1" in done.stderr
    assert "resume anyway: --ignore data" in done.stderr
    assert len(lab.events(root, "attempt_started")) == 1
    assert lab.command("resume", root.name, "--ignore", "dat").returncode == 2
    (lab.folder / "away").rename(lab.folder / "data")
    done = lab.command("resume", root.name, "--set", "epoch_size=4", "--follow")
    assert done.returncode == 0, done.stderr
    assert lab.events(root, "attempt_started")[1]["resume"]["step"] == 10


def data_of(lab, root: Path, attempt: int) -> str:
    """The folder that the ranks of an attempt read."""
    plan = json.loads((root / f"attempts/{attempt:03d}/plan.json").read_text())
    (argv,) = {tuple(one["argv"]) for one in plan["processes"] if one["rank"] == 0}
    return str(argv[argv.index("--dataset_path") + 1])


def test_a_resume_continues_with_moved_data(lab) -> None:
    root = lab.start({"rank": 1, "step": 14, "do": "kill"}, epochs=8)
    lab.wait_for(root, "attempt_failed")
    assert data_of(lab, root, 1) == str(lab.folder / "data")
    (lab.folder / "data").rename(lab.folder / "moved")
    assert lab.command("resume", root.name, "--follow").returncode == 6
    lab.command("resume", root.name, "--data", str(lab.folder / "moved"), "--follow")
    assert data_of(lab, root, 2) == str(lab.folder / "moved")
    # So it stays, until an edited profile says otherwise.
    lab.command("resume", root.name, "--follow")
    assert data_of(lab, root, 3) == str(lab.folder / "moved")
    (lab.folder / "moved").rename(lab.folder / "again")
    edited = lab.folder / "edited.toml"
    edited.write_text(lab.profile().read_text().replace('/data"', '/again"'))
    lab.command("resume", root.name, "--profile", str(edited), "--follow")
    assert data_of(lab, root, 4) == str(lab.folder / "again")


@pytest.mark.parametrize("words", [("--ignore", "data"), ("--no-preflight",)])
def test_a_resume_continues_when_the_red_check_is_ignored(lab, words: tuple[str, ...]) -> None:
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    (lab.folder / "data").rename(lab.folder / "away")
    assert lab.command("resume", root.name, *words, "--follow").returncode == 0
    assert lab.events(root, "attempt_started")[1]["resume"]["step"] == 10
