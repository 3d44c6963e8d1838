"""The comparison screen over real run directories: curves, words, settings, speeds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from made_run import MadeRun
from pilots import everything, sees, showing, text_of, until
from pressing import Keys
from textual.pilot import Pilot

from tui.model.run import ChartRequest
from tui.screens.compare import CompareScreen
from tui.screens.home import HomeScreen
from tui.screens.run import RunScreen
from tui.sources.live import LiveSource
from tui.widgets.chart import Chart


def make_runs(folder: Path) -> None:
    """One that finished, one that failed later, and one that lives."""
    for at, (name, steps) in enumerate((("first", 95), ("second", 50), ("third", 20))):
        run = MadeRun(folder, name, time_s=time.time() - 1000 * (3 - at))
        profile = run.paths.profile.read_text()
        run.paths.profile.write_text(profile.replace("0.0014", f"0.{at + 1}"))
        run.start()
        run.steps(steps, seconds=2.0 if name == "second" else 1.0)
        if name == "first":
            run.finish()
        if name == "second":
            run.fail(1)


async def compare(pilot: Pilot[str], *marks: str) -> None:
    """From Home, with the runs of these names marked."""
    await sees(pilot, "3 runs")
    for name in marks:
        await pilot.press("slash", *name, "enter", "space", "escape")
        await pilot.pause()
    await sees(pilot, f"{len(marks)} marked")
    await pilot.press("c")
    await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))


async def test_marked_runs_are_compared(own_folders: Path) -> None:
    make_runs(own_folders / "runs")
    async with showing(LiveSource(), (120, 48), run=None) as pilot:  # type: ignore[arg-type]
        await compare(pilot, "first", "second", "third")
        await sees(pilot, "lr_max", "0.3 (profile local-cpu)", "· waiting for peers", "images/s")
        shown = everything(pilot)
        for words in ("A running", "B failed", "C finished", "rank 1: the kernel killed it"):
            assert words in shown
        await until(pilot, lambda: text_of(pilot, "#curves").splitlines()[0].count(" 1.") >= 1)
        head = text_of(pilot, "#curves").splitlines()[0]
        assert [name for name in "ABC" if f" {name} " in head] == ["A", "B", "C"]
        await pilot.press("X")
        await until(pilot, lambda: "step" not in text_of(pilot, "#curves").splitlines()[-1])
        await pilot.press("c")
        await until(pilot, lambda: text_of(pilot, "#curves").startswith("top-1"))
        await until(pilot, lambda: " %" in text_of(pilot, "#curves"))


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (240, 60)])
async def test_it_fits_every_size(own_folders: Path, size: tuple[int, int]) -> None:
    make_runs(own_folders / "runs")
    async with showing(LiveSource(), size, run=None) as pilot:  # type: ignore[arg-type]
        await compare(pilot, "first", "second")
        await sees(pilot, "A failed", "B finished", "loss")
        assert max(map(len, everything(pilot).splitlines())) <= size[0]


async def test_a_zoomed_chart_is_asked_for_again(own_folders: Path) -> None:
    make_runs(own_folders / "runs")
    async with showing(LiveSource(), (120, 48), run=None) as pilot:  # type: ignore[arg-type]
        await compare(pilot, "first", "second")
        await sees(pilot, "configuration")
        chart = pilot.app.screen.query_one(Chart)
        await until(pilot, lambda: chart._data is not None and bool(chart._data.curves))
        chart.focus()
        await pilot.press("up")
        await until(pilot, lambda: "zoomed" in everything(pilot))
        await until(pilot, lambda: chart._data is not None and chart._data.first > 0)


async def test_fewer_than_two_runs_say_how_to_mark(own_folders: Path) -> None:
    make_runs(own_folders / "runs")
    async with showing(LiveSource(), (120, 36), run=None) as pilot:  # type: ignore[arg-type]
        await sees(pilot, "3 runs")
        await pilot.press("c")
        await sees(pilot, "mark 2 to 26 runs with space, then press c")
        assert isinstance(pilot.app.screen, HomeScreen)
        await pilot.press("space", "c")  # one mark, and the run under the cursor
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await sees(pilot, "compare 2 runs", "A running", "B failed")


async def test_a_run_that_is_gone_is_named(own_folders: Path) -> None:
    make_runs(own_folders / "runs")
    async with showing(LiveSource(), (120, 36), run=None) as pilot:  # type: ignore[arg-type]
        await sees(pilot, "3 runs")
        pilot.app.push_screen(CompareScreen(["first", "gone"]))
        await sees(pilot, "no run's id starts with 'gone'")


def test_runs_lie_over_each_other_by_step_and_by_their_own_time(own_folders: Path) -> None:
    make_runs(own_folders / "runs")
    found = LiveSource().compare(["first", "second"])
    by_step = found.frame(ChartRequest("loss", 90, mean_only=True)).chart
    assert (by_step.first, by_step.last, len(by_step.curves)) == (0, 94, 2)
    long, short = (curve.columns for curve in by_step.curves)
    assert long[:40] == short[:40]  # the same loss at the same steps
    assert short[60] is None
    by_time = found.frame(ChartRequest("loss", 90, mean_only=True, axis="time")).chart
    assert (round(by_time.first), round(by_time.last)) == (1, 100)
    assert by_time.curves[1].columns[80] is not None


async def keys_of_the_comparison(keys: Keys) -> None:
    """Called by test_bindings."""
    make_runs(Path(os.environ["EFFNET_RUNS_DIR"]))
    async with showing(LiveSource(), (120, 48), run=None) as keys.pilot:  # type: ignore[arg-type]
        await sees(keys.pilot, "3 runs")
        await keys.pilot.press("space", "space")
        await keys("HomeScreen", "c", keys.on(CompareScreen))
        app, chart = keys.pilot.app, app_chart(keys)
        await sees(keys.pilot, "configuration")
        await keys("CompareScreen", "c", lambda: chart.field.title == "top-1")
        await keys("CompareScreen", "C", lambda: chart.field.title == "loss")
        await keys("CompareScreen", "X", lambda: chart.viewport.axis == "time")
        await keys("CompareScreen", "l", lambda: chart.log_scale)
        await keys("CompareScreen", "m", lambda: chart.smoothing > 0)
        await keys("CompareScreen", "y", lambda: app.clipboard.startswith("effnet-launch compare"))
        await keys("CompareScreen", "tab", lambda: chart.has_focus)
        await keys.pilot.press("tab", "enter")
        await until(keys.pilot, keys.on(RunScreen))
        await keys.pilot.press("escape")
        await until(keys.pilot, keys.on(CompareScreen))
        await keys("CompareScreen", "escape", keys.on(HomeScreen))


def app_chart(keys: Keys) -> Chart:
    return keys.pilot.app.screen.query_one(Chart)
