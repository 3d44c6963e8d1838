"""The reporter: one file for scripts of any kind, and what they print with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from effnet.contract import reporter as written
from effnet.contract.reporter import Reporter
from launcher import programs
from launcher.cli.app import app
from launcher.core.run.heartbeat import Phase, parse_heartbeat
from launcher.core.run.report import parse
from launcher.core.run.report_types import (
    CheckpointSaved,
    Done,
    Resumed,
    StepReport,
    Stopped,
    TrainingHeader,
)


def test_the_command_copies_the_trainers_own_file(tmp_path: Path) -> None:
    file = tmp_path / "my_reporter.py"
    done = CliRunner().invoke(app, ["reporter", "-o", str(file)])
    assert done.exit_code == 0, done.output
    assert file.read_text() == Path(str(written.__file__)).read_text()
    # An older copy is replaced, another file is not.
    file.write_text(file.read_text()[:200])
    assert CliRunner().invoke(app, ["reporter", "-o", str(file)]).exit_code == 0
    file.write_text("mine")
    refused = CliRunner().invoke(app, ["reporter", "-o", str(file)])
    assert "is another file" in str(refused.exception)
    assert file.read_text() == "mine"


def test_it_needs_only_the_standard_library() -> None:
    path = programs.reporter_file()
    assert path is not None
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def rank_of(monkeypatch: pytest.MonkeyPatch, folder: Path, **more: str) -> None:
    names = ("RANK", "RANK_ID", "OMPI_COMM_WORLD_RANK", "WORLD_SIZE", "RANK_SIZE", "EFFNET_RESUME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("EFFNET_STACKS", raising=False)
    files = {"HEARTBEAT": "heartbeat", "STOP_FILE": "stop"}
    for name, file in files.items():
        monkeypatch.setenv(f"EFFNET_{name}", str(folder / file))
    for name, value in more.items():
        monkeypatch.setenv(name, value)


def test_its_lines_are_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rank_of(monkeypatch, tmp_path, RANK_ID="1", RANK_SIZE="4", EFFNET_RESUME="/c/x.pt")
    saved = tmp_path / "x y.pt"
    saved.write_bytes(b"12345")
    with Reporter(3, 2) as reporter:
        reporter.resumed(1, 2)
        reporter.step(1, 0, loss=2.0, images=64, lr=0.5)
        reporter.step(1, 1, loss=1.0)
        reporter.checkpoint(saved)
        beat = parse_heartbeat((tmp_path / "heartbeat").read_bytes())
        assert beat is not None
        assert (beat.phase, beat.steps_done, beat.epochs_done) == (Phase.COMPUTE, 4, 2)
    header, resumed, first, second, checkpoint, done = map(
        parse, capsys.readouterr().out.splitlines()
    )
    assert header == TrainingHeader(1, 4, epochs=3, steps_per_epoch=2)
    assert resumed == Resumed(1, 2, "/c/x.pt")
    assert isinstance(first, StepReport)
    assert isinstance(second, StepReport)
    assert (first.loss, first.learning_rate, first.global_step) == (2.0, 0.5, 2)
    assert first.images_per_s is not None
    assert second.images_per_s is None
    assert (second.mean_loss, second.learning_rate, second.global_step) == (1.5, None, 3)
    assert checkpoint == CheckpointSaved(2, 4, str(saved), 5, 0.0)
    assert isinstance(done, Done)
    assert (done.epochs, done.steps, done.state) == (2, 4, None)
    beat = parse_heartbeat((tmp_path / "heartbeat").read_bytes())
    assert beat is not None
    assert beat.phase is Phase.DONE


def test_every_so_many_steps_and_a_stop_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rank_of(monkeypatch, tmp_path)
    with pytest.raises(SystemExit), Reporter(1, 5, every=2) as reporter:  # noqa: PT012
        for step in range(5):
            reporter.step(0, step, loss=float(step))
        assert not reporter.stop_requested
        (tmp_path / "stop").touch()
        assert reporter.stop_requested
        sys.exit()
    lines = [parse(line) for line in capsys.readouterr().out.splitlines()]
    steps = [item for item in lines if isinstance(item, StepReport)]
    assert [(item.step, item.steps, item.loss) for item in steps] == [
        (1, 2, 0.5),
        (3, 2, 2.5),
        (4, 1, 4.0),
    ]
    assert lines[-1] == Stopped(1, 5, "stop file")


def test_a_crash_is_neither_done_nor_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rank_of(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match="'lunch' is not one of"), Reporter(1, 5) as reporter:
        reporter.phase("lunch")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    """A checkpoint is written, and reported, beside the steps."""
    script = (
        "import sys, threading\n"
        "from effnet.contract.reporter import emit\n"
        "sys.setswitchinterval(1e-6)\n"
        "def say(name):\n"
        "    for number in range(3000):\n"
        "        emit(f'{name} {number}')\n"
        "threads = [threading.Thread(target=say, args=(name,)) for name in 'abc']\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", script], stdout=log, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in "abc" for number in range(3000))
