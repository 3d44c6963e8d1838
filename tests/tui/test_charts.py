"""Charts in the app: connected curves, axes, zoom, the cursor, ranks in front, marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_source import RUN, FakeRun, FakeSource
from hypothesis import given
from hypothesis import strategies as st
from made_run import MadeRun
from pilots import drawn_charts, everything, sees, showing, text_of, until
from textual import events
from textual.message import Message
from textual.pilot import Pilot

from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.metrics import LoadRecord, pack_load
from tui.app import Dashboard
from tui.charts.viewport import Viewport, window
from tui.drawing.canvas import Canvas
from tui.drawing.glyphs import ASCII, BLOCK, BRAILLE, Glyphs
from tui.drawing.plot import LABEL_WIDTH
from tui.model.run import ChartData, Curve
from tui.screens.home import HomeScreen
from tui.settings import Settings
from tui.sources.live import LiveSource
from tui.widgets.chart import Chart


def dots_of(canvas: Canvas, glyphs: Glyphs) -> set[tuple[int, int]]:
    """(column, row from the top) of every dot that is drawn."""
    across, down = glyphs.grid
    return {
        (x * across + bit % across, y * down + bit // across)
        for y, row in enumerate(canvas.cells)
        for x, cell in enumerate(row)
        if cell is not None
        for bit in range(across * down)
        if glyphs.dots.index(cell.text) >> bit & 1
    }


@pytest.mark.parametrize("glyphs", [BLOCK, BRAILLE, ASCII])
@given(values=st.lists(st.floats(0, 100), min_size=2, max_size=24))
def test_a_curve_has_no_gap(glyphs: Glyphs, values: list[float]) -> None:
    canvas = Canvas(-(-len(values) // glyphs.grid[0]), 6, 0, 100, False, glyphs)
    canvas.show([[(value, value) for value in values]])
    dots = dots_of(canvas, glyphs)
    found, edge = set(), {min(dots)}
    while edge:
        found |= edge
        edge = {
            (x + dx, y + dy) for x, y in edge for dx in (-1, 0, 1) for dy in (-1, 0, 1)
        } & dots - found
    assert found == dots
    assert {x for x, _ in dots} == set(range(len(values)))


@pytest.mark.parametrize(
    ("level", "chars"),
    [("", "▖▗▘▙▚▛▜▝▞▟▀▄▌▐█"), ("block", "▖▗▘▙▚▛▜▝▞▟▀▄▌▐█"), ("ascii", "*"), ("braille", "")],
)
async def test_glyphs_are_as_the_settings_say(level: str, chars: str) -> None:
    app = Dashboard(FakeSource(), Settings(glyphs=level, bell=False), run=RUN)
    async with app.run_test(size=(80, 24)) as pilot:
        await sees(pilot, "loss", "eval")
        await until(pilot, lambda: "│" in text_of(pilot, "#chart-0") or level == "ascii")
        rows = text_of(pilot, "#chart-0").splitlines()[1:-1]
        drawn = set("".join(row[LABEL_WIDTH + 1 :] for row in rows)) - {" "}
        assert drawn
        assert drawn <= set(chars or map(chr, range(0x2800, 0x2900)))


def first_chart(pilot: Pilot[str]) -> Chart:
    return pilot.app.screen.query(Chart).first()


async def test_the_rank_under_the_cursor_and_marked_ranks_are_in_front() -> None:
    async with showing(FakeSource(FakeRun(8)), (160, 48)) as pilot:
        await sees(pilot, "step time  r0 ", "r1 ")
        await pilot.press("down", "down", "down")
        await sees(pilot, "step time  r3 ")
        chart = pilot.app.screen.query_one("#chart-1", Chart)
        drawn = chart._plot.curves(chart._data, chart_look(chart))  # type: ignore[arg-type]
        assert [item.curve.rank for item in drawn[:2]] == [3, 0]
        assert drawn[0].style.bold
        faint = chart.palette.faint
        assert [item.style == faint for item in drawn] == [False] + [True] * 7
        await pilot.press("space", "G", "space", "g")
        await sees(pilot, "step time  r0 ")
        assert chart.chosen == (0, 3, 7)


def chart_look(chart: Chart) -> object:
    from tui.drawing.plot import Look

    return Look(chart.field, chart.palette, chart.glyphs, chosen=chart.chosen)


async def test_of_many_ranks_any_can_be_in_the_legend() -> None:
    folder = FakeRun(64, nodes=8)
    async with showing(FakeSource(folder), (160, 48)) as pilot:
        await sees(pilot, "step time  r0 ")
        chart = pilot.app.screen.query_one("#chart-1", Chart)
        await pilot.press("G")
        await sees(pilot, "step time  r63 ")
        drawn = chart._plot.curves(chart._data, chart_look(chart))  # type: ignore[arg-type]
        assert [item.curve.rank for item in drawn] == [63]


async def test_the_cursor_reads_the_values_of_all_ranks() -> None:
    async with showing(FakeSource(FakeRun(8)), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "step time")
        await drawn_charts(pilot)
        pilot.app.screen.query_one("#chart-1", Chart).focus()
        await pilot.press(*["left"] * 4)
        await sees(pilot, "at step 91")
        box = text_of(pilot, "#chart-1")
        assert all(f" r{rank} " in box for rank in range(8))
        assert " r1 " not in text_of(pilot, "#chart-0")
        await pilot.press("escape")
        await until(pilot, lambda: "at step" not in everything(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HomeScreen))


async def test_keys_that_are_faster_than_the_screen_lose_no_move() -> None:
    """Each was taken back as soon as the screen had passed on the one before it."""
    async with showing(FakeSource(FakeRun(8)), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "step time")
        await drawn_charts(pilot)
        screen = pilot.app.screen
        chart, late = screen.query_one("#chart-1", Chart), []
        post = chart.post_message

        def keep(message: Message) -> bool:
            kept = isinstance(message, Chart.ViewChanged)
            return bool(kept and not late.append(message)) or post(message)

        chart.post_message = keep  # type: ignore[method-assign]
        for number in range(4):
            chart.action_cursor(-1)
            for message in late[max(number - 1, 0) : number]:
                screen.on_chart_view_changed(message)  # type: ignore[attr-defined]
        screen.on_chart_view_changed(late[-1])  # type: ignore[attr-defined]
        await sees(pilot, "step time  at step 91", "loss  at step 91")


async def test_without_room_for_all_ranks_the_cursor_reads_the_highest() -> None:
    async with showing(FakeSource(FakeRun(64)), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "step time")
        await drawn_charts(pilot)
        pilot.app.screen.query_one("#chart-1", Chart).focus()
        await pilot.press("left")
        pilot.app.screen.query_one("#chart-1", Chart).action_cursor(-30)
        await sees(pilot, " r63 ", " lower")


async def mouse(pilot: Pilot[str], kind: type[events.MouseEvent], x: int, y: int) -> None:
    chart = first_chart(pilot)
    region = chart.region
    button = 0 if kind in (events.MouseScrollUp, events.MouseScrollDown) else 1
    event = kind(chart, x, y, 0, 0, button, False, False, False, region.x + x, region.y + y)
    chart.post_message(event)
    await pilot.pause()


async def test_the_mouse_zooms_moves_and_reads() -> None:
    run = FakeRun(2)
    async with showing(FakeSource(run), (80, 24)) as pilot:
        await sees(pilot, "RUNNING", "loss")
        chart = first_chart(pilot)
        await drawn_charts(pilot)
        await mouse(pilot, events.MouseScrollUp, 10, 3)
        assert chart.viewport.width == 50
        assert chart.viewport.end == pytest.approx(50, abs=1)
        await until(pilot, lambda: run.requests[-1].charts[0].width == 50)
        await mouse(pilot, events.MouseDown, 40, 3)
        await mouse(pilot, events.MouseMove, 20, 3)
        await mouse(pilot, events.MouseUp, 20, 3)
        assert chart.viewport.end is not None
        assert chart.viewport.end > 60
        assert chart.viewport.cursor is None
        await mouse(pilot, events.MouseDown, 40, 3)
        await mouse(pilot, events.MouseUp, 40, 3)
        await sees(pilot, "at step ")
        await mouse(pilot, events.MouseScrollDown, 40, 3)
        assert chart.viewport.width is None


@given(
    st.lists(st.sampled_from(("in", "out", "left", "right", "wheel")), max_size=40),
    st.floats(0, 1),
)
def test_what_is_shown_stays_within_the_run(moves: list[str], at: float) -> None:
    view = Viewport()
    for move in moves:
        first, end = window((0, 1000), 990, view.width, view.end)
        data = ChartData("loss", first, 990, end, all_of_it=(0, 1000))
        if move in ("left", "right"):
            view = view.panned(-0.3 if move == "left" else 0.3, data)
        else:
            zoom = 2.0 if move == "out" else 0.5
            view = view.zoomed(zoom, data, at if move == "wheel" else None)
        first, end = window((0, 1000), 990, view.width, view.end)
        assert -1e-6 <= first < end <= 1000 + 1e-6


def test_a_move_starts_from_what_was_requested_last_not_from_what_is_drawn() -> None:
    of_another_request = ChartData("loss", 74.5, 100, 99.5, all_of_it=(0, 100))
    assert Viewport(width=50).panned(-0.25, of_another_request).end == 87.5
    assert Viewport(width=50).zoomed(0.5, of_another_request, 1.0).end == 100


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a run with two attempts: 100 steps, then 110 from step 90."""
    run = MadeRun(tmp_path_factory.mktemp("runs"), "made", ranks=2)
    run.start()
    run.steps(100)
    run.fail(1)
    run.time_s += 100
    run.start(StartCheckpoint(path="/x/step-90.ckpt", epoch=2, step=90))
    run.steps(110)
    return str(run.paths.root)


async def test_every_axis_marks_attempts_evaluations_and_checkpoints(recorded: str) -> None:
    app = Dashboard(LiveSource(read_only=True), Settings(bell=False), run=recorded)
    async with app.run_test(size=(160, 48)) as pilot:
        for words in ("step 199", "4.42 epochs", "5:11"):
            await sees(pilot, "┊ attempt  ↑ eval  ◆ checkpoint", words)
            marks = text_of(pilot, "#chart-0").splitlines()[-2]
            assert [marks.count(glyph) for glyph in "┊↑◆"] == [1, 4, 4]
            await pilot.press("X")
        await sees(pilot, "step 199")


async def test_smoothed_curves_have_their_values_behind_them(recorded: str) -> None:
    app = Dashboard(LiveSource(read_only=True), Settings(bell=False), run=recorded)
    async with app.run_test(size=(80, 24)) as pilot:
        await sees(pilot, "loss")
        chart = first_chart(pilot)
        await until(pilot, lambda: chart._data is not None)
        assert chart._data is not None
        assert chart._data.curves[0].raw == ()
        await pilot.press("m")
        await until(pilot, lambda: bool(chart._data and chart._data.curves[0].raw))
        curve = chart._data.curves[0]
        assert curve.raw != curve.columns
        styles = {part.style for strip in chart._lines[1:-1] for part in strip}
        assert chart.palette.faint in styles


async def test_a_part_is_as_fine_as_what_was_reported(recorded: str) -> None:
    app = Dashboard(LiveSource(read_only=True), Settings(bell=False), run=recorded)
    async with app.run_test(size=(160, 48)) as pilot:
        await sees(pilot, "step 199")
        chart = first_chart(pilot)
        chart.focus()
        await pilot.press(*["up"] * 5)
        await until(pilot, lambda: bool(chart._data and chart._data.end - chart._data.first < 7))
        assert chart._data is not None
        known = [cell for cell in chart._data.curves[0].columns if cell is not None]
        assert len(known) in (6, 7)
        assert all(low == high for low, high in known)


async def test_samples_have_charts_where_there_are_some(own_folders: Path) -> None:
    run = MadeRun(own_folders / "runs", "made", ranks=2)
    run.start()
    run.steps(5)

    def load(**values: float) -> None:
        for rank in range(2):
            path = run.paths.attempt(1).rank(rank).load
            with path.open("ab") as file:
                file.write(pack_load(LoadRecord(run.time_s, **values)))

    load(cpu_percent=190.0, io_wait_percent=0.0)
    app = Dashboard(LiveSource(read_only=True), Settings(bell=False), run="made")
    async with app.run_test(size=(160, 48)) as pilot:
        await sees(pilot, "loss", "step 4")
        seen = []
        for _ in range(9):
            await pilot.press("c")
            seen.append(first_chart(pilot).field.name)
        assert seen[5:] == ["cpu_percent", "io_wait_percent", "device_use_percent", "loss"]
        load(power_w=310.5, temperature_c=61.0, clock_mhz=1410.0)
        await pilot.press("C", "C", "C")
        await sees(pilot, "CPU  r0 190 %", "I/O wait  r0 0 %", "device use  r0 50 %")
        app.screen.poll_now()  # type: ignore[attr-defined]
        await until(pilot, lambda: "clock_mhz" in app.screen._fields)  # type: ignore[attr-defined]
        await pilot.press("c", "c", "c")
        await sees(pilot, "power  r0 310 W", "temperature  r0 61 °C", "clock  r0 1410 MHz")


async def test_a_chart_draws_any_named_curves() -> None:
    """What a screen that compares runs needs: no run, no ranks, its own field."""
    run = FakeRun(2)
    run._chart = lambda request: ChartData(  # type: ignore[method-assign]
        request.field, 0, 9, 9,
        tuple(
            Curve(name, tuple((at + by, at + by) for at in range(request.columns)), 9.0)
            for by, name in enumerate(("run-a", "run-b"))
        ),
    )  # fmt: skip
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "loss  run-a 9.000 run-b 9.000")
        chart = first_chart(pilot)
        drawn = chart._plot.curves(chart._data, chart_look(chart))  # type: ignore[arg-type]
        assert len({item.style for item in drawn}) == 2
