"""Which jobs of Slurm's queue no run knows of: nothing is said of what cannot be known."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from launcher.cleanup.slurm_jobs import without_run
from launcher.core.run.events import SlurmQueued
from launcher.core.slurm import SubmittedJob
from tests.tui.made_run import MadeRun


def job(number: str, script: Path) -> SubmittedJob:
    when = "2026-01-02T10:15:00"
    return SubmittedJob(number, "PENDING", "Resources", submitted=when, command=str(script))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of a run that waits as job 12."""
    made = MadeRun(tmp_path / "disk/runs", "made", ranks=2, time_s=time.time(), pid=0)
    made.event(SlurmQueued("12"))
    return made.paths.root


def words(root: Path, *jobs: SubmittedJob) -> list[str]:
    return [f"{item.job}: {item.what.rpartition('; ')[2]}" for item in without_run(jobs, {root})]


def test_a_job_is_left_once_its_run_was_removed_and_not_where_its_disk_is_gone(root: Path) -> None:
    script, disk = root / "batch.sh", root.parents[1]
    assert words(root, job("12", script), job("13", script)) == ["13: its run does not know of it"]
    aside = disk.rename(disk.with_name("not-mounted"))
    assert words(root, job("12", script)) == []
    disk.mkdir()
    assert words(root, job("12", script)) == []
    disk.rmdir()
    aside.rename(disk)
    shutil.rmtree(root)
    assert words(root, job("12", script)) == ["12: its run directory was removed"]


def test_a_script_is_found_by_another_path_to_its_directory(root: Path, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to(root.parent)
    other = tmp_path / "home/made/batch.sh"
    assert words(root, job("13", other)) == ["13: its run does not know of it"]
    for script in (root / "mine.sh", root.parent / "batch.sh", Path("(null)"), Path("batch.sh")):
        assert words(root, job("13", script)) == []


def test_nothing_is_said_of_a_run_or_a_job_whose_files_cannot_be_read(root: Path) -> None:
    folder = root / "jobs/001-eval"
    folder.mkdir(parents=True)
    known = {"id": "001-eval", "type": "eval", "node": "n", "argv": [], "environment": {}}
    (folder / "job.json").write_text(json.dumps({**known, "created": 1.0, "slurm": "14"}))
    script = folder / "batch.sh"
    assert words(root, job("14", script), job("15", script)) == ["15: its run does not know of it"]
    (folder / "job.json").write_text("{")
    assert words(root, job("14", script)) == []
    (root / "events.jsonl").write_text("{\n")
    assert words(root, job("12", root / "batch.sh")) == []
    os.truncate(root / "events.jsonl", 0)
    assert words(root, job("12", root / "batch.sh")) == ["12: its run does not know of it"]
    shutil.rmtree(folder)
    assert words(root, job("14", script)) == ["14: its folder was removed"]
