"""A job of another launcher in the dashboard: its panels, its card, and no key that acts on it."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from pilots import everything, sees, showing
from test_readonly import keys_of

from launcher.watching.watch import watch
from tui.__main__ import main
from tui.drawing.wording import WATCHED
from tui.screens.run import RunScreen
from tui.sources.watched import WatchSource

RECORDED = Path(__file__).parents[1] / "launcher/watching/recorded"


def job(tmp_path: Path, name: str) -> str:
    folder = tmp_path / name
    shutil.copytree(RECORDED / name, folder)
    at = time.time() - 3600
    for path in folder.rglob("*"):
        os.utime(path, (at, at))
    return str(folder)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_a_failed_job_has_its_card_and_nothing_acts_on_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    target = job(tmp_path, "msrun_death")
    with closing(watch(target)) as run:
        async with showing(WatchSource(run), size, run=target, readonly=WATCHED) as pilot:  # type: ignore[arg-type]
            await sees(pilot, "rank 1 on", "failed first", "sample 17 is damaged", WATCHED)
            for key in ("r", "s", "e", "x", "i", "d", "b", "t"):
                await pilot.press(key)
                assert isinstance(pilot.app.screen, RunScreen), key
            offered = everything(pilot).splitlines()[-1]
            assert not [word for word in ("Stop", "Resume", "Eval", "Export") if word in offered]
            assert {"r", "s"} <= set(keys_of(pilot))


async def test_charts_and_the_log_of_a_finished_job(tmp_path: Path) -> None:
    target = job(tmp_path, "msrun")
    with closing(watch(target)) as run:
        async with showing(WatchSource(run), (160, 48), run=target, readonly=WATCHED) as pilot:  # type: ignore[arg-type]
            await sees(pilot, "FINISHED", "5/5", "step 14", "loss  0.102", "log rank 0")


@pytest.mark.parametrize(
    ("name", "words"), [("mpirun_death", "ran out of memory"), ("msrun", "finished")]
)
def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str) -> None:
    assert main(["watch", job(tmp_path, name), "--once"]) == 0
    assert words in capsys.readouterr().out


def test_a_folder_without_logs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path), "--once"]) == 2
    assert "no logs of ranks in" in capsys.readouterr().err
