"""Arguments that make no sense are refused: nothing is deleted, nothing succeeds silently."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli.app import main
from launcher.core.diagnosis.event_text import event_text
from launcher.core.text.figures import milliseconds, number

RECORDING = Path(__file__).parents[3] / "tui/demo/run.tar.gz"
Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `effnet-launch` beside the demo's run; -> its exit code."""
    with tarfile.open(RECORDING) as packed:
        packed.extractall(tmp_path, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["effnet-launch", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0)

    return run


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("prune", "--keep", "-1", "--yes", "--here"), 2),
        (("clean", "--node", "nosuch", "--yes"), 2),
        (("logs", "--attempt", "99"), 3),
        (("logs", "--attempt", "-1"), 2),
        (("logs", "-n", "-5"), 2),
        (("logs", "-n", "0"), 2),
        (("logs", "--rank", "-1"), 2),
        (("logs", "--job", "nosuch"), 2),
        (("runs", "--limit", "-3"), 2),
    ],
)
def test_an_argument_without_meaning_is_refused(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    assert command(*arguments) == code
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_version_is_printed(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--version") == 0
    assert capsys.readouterr().out.startswith("effnet-launch ")


def test_a_plan_without_a_master_does_not_name_one(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("plan", "local-cpu") == 0
    assert "master ," not in capsys.readouterr().out


def test_text_output_has_no_raw_values() -> None:
    assert number(62770.0) == "62770"
    assert milliseconds(62770.0) == "62.8 s"
    assert milliseconds(41.28) == "41 ms"
    failure = {"rank": None, "node": "", "meaning": "no port is free"}
    assert event_text({"kind": "attempt_failed", "failure": failure}).endswith(": no port is free")
    gone = {"kind": "rank_exited", "rank": 3, "node": "b", "signal": None, "exit_code": None}
    assert event_text(gone) == "rank exited: rank 3 on b, exit code unknown"
    nested = {"kind": "moon_rose", "at": {"step": 3, "why": None}, "over": [1, 2]}
    assert event_text(nested) == "moon rose: at=(step=3 why=unknown) over=1, 2"
