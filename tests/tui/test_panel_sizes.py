"""Panels in the user's own sizes: by keys, by mouse, remembered, and put back by one key."""

from __future__ import annotations

from fake_source import RUN, FakeRun, FakeSource
from hypothesis import given
from hypothesis import strategies as st
from pilots import sees, showing, until
from textual import events
from textual.pilot import Pilot
from textual.widget import Widget

from tui.drawing.layout import FIXED_LINES, MIN_HEIGHT, MIN_WIDTH, PANELS, arrange
from tui.drawing.sizes import dragged, higher, wider
from tui.settings import check, load, settings_path
from tui.widgets.chart import Chart
from tui.widgets.log_view import LogView


@given(
    st.integers(MIN_WIDTH, 300), st.integers(MIN_HEIGHT, 100), st.integers(0, 128),
    st.sets(st.sampled_from(PANELS), min_size=1), st.sampled_from((0, 9)),
    st.dictionaries(st.sampled_from(("ranks", "charts", "strip")), st.floats(0.001, 0.999)),
)  # fmt: skip
def test_panels_of_any_size_never_overlap(
    width: int, height: int, ranks: int, shown: set[str], card: int, shares: dict[str, float]
) -> None:
    layout = arrange(width, height, ranks, shown, "", card, shares)
    beside = bool(layout.skew_width)
    lines = layout.card + layout.charts + layout.log
    lines += max(layout.table, layout.skew) if beside else layout.table + layout.skew
    assert lines <= height - FIXED_LINES
    assert all(value >= 0 for value in (layout.table, layout.skew, layout.charts, layout.log))
    assert layout.skew_width <= width // 2


def test_a_line_added_to_a_panel_is_taken_from_its_neighbour() -> None:
    def lay(shares: object) -> tuple[int, int, int]:
        found = arrange(160, 48, 8, set(PANELS), shares=shares)  # type: ignore[arg-type]
        return found.table, found.charts, found.log

    first = arrange(160, 48, 8, set(PANELS))
    table, charts, log = first.table, first.charts, first.log
    assert lay(higher(first, 48, {}, "charts", 1)) == (table, charts + 1, log - 1)
    assert lay(higher(first, 48, {}, "log", 2)) == (table, charts - 2, log + 2)
    assert lay(dragged(first, 48, {}, "log", -3)) == (table, charts - 3, log + 3)
    assert lay(dragged(first, 48, {}, "charts", 2)) == (table + 2, charts - 2, log)
    assert lay(higher(first, 48, {}, "ranks", 1))[0] == table + 1
    assert arrange(160, 48, 8, set(PANELS), shares=wider(first, 160, {}, 6)).skew_width == (
        first.skew_width + 6
    )


def test_invalid_sizes_in_the_settings_are_reported() -> None:
    for wrong in ({"ranks": 2.0}, {"logs": 0.5}, 3):
        settings, problems = check({"panels": wrong}, "dashboard.toml")
        assert settings.panels == {}
        assert problems[0].startswith("dashboard.toml: panels ")


def height(pilot: Pilot[str], kind: type[Widget]) -> int:
    return pilot.app.screen.query(kind).first().size.height


async def test_keys_resize_the_focused_panel_and_its_size_is_saved() -> None:
    async with showing(FakeSource(FakeRun(4)), (120, 40)) as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        table = pilot.app.screen.query_one("#ranks")
        before = table.size.height
        await pilot.press("plus", "plus", "plus")
        await until(pilot, lambda: table.size.height == before + 3)
        await pilot.press("minus")
        await until(pilot, lambda: table.size.height == before + 2)
        log = pilot.app.screen.query_one(LogView)
        charts, lines = height(pilot, Chart), log.size.height
        log.focus()
        await pilot.press("plus", "plus")
        await until(pilot, lambda: log.size.height == lines + 2)
        assert height(pilot, Chart) == charts - 2
    settings, problems = load(settings_path())
    assert problems == ()
    assert set(settings.panels) == {"ranks", "charts"}

    from tui.app import Dashboard

    app = Dashboard(FakeSource(FakeRun(4)), settings, run=RUN)
    async with app.run_test(size=(120, 40)) as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        table = pilot.app.screen.query_one("#ranks")
        await until(pilot, lambda: table.size.height == before + 2)
        await pilot.press("0")
        await until(pilot, lambda: table.size.height == before)
    assert load(settings_path())[0].panels == {}


async def test_the_strip_becomes_wider_and_narrower() -> None:
    async with showing(FakeSource(FakeRun(4)), (160, 48)) as pilot:
        await sees(pilot, "who is late")
        strip = pilot.app.screen.query_one("#skew")
        before = strip.size.width
        await pilot.press("left_square_bracket", "left_square_bracket")
        await until(pilot, lambda: strip.size.width == before + 4)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: strip.size.width == before + 2)


async def drag(pilot: Pilot[str], widget: Widget, right: int, down: int) -> None:
    """Press on the widget's upper left cell, move, let go; as the terminal reports it."""
    x, y = widget.region.offset

    def send(kind: type[events.MouseEvent], x: int, y: int, button: int) -> None:
        event = kind(widget, x, y, 0, 0, button, False, False, False, x, y)
        pilot.app.screen._forward_event(event)

    send(events.MouseDown, x, y, 1)
    await pilot.pause()
    send(events.MouseMove, x + right, y + down, 1)
    await pilot.pause()
    send(events.MouseUp, x + right, y + down, 1)
    await pilot.pause()


async def test_the_mouse_drags_title_lines_and_the_edge_of_the_strip() -> None:
    async with showing(FakeSource(FakeRun(4)), (160, 48)) as pilot:
        await sees(pilot, "log rank 0", "who is late")
        log, chart = pilot.app.screen.query_one(LogView), pilot.app.screen.query(Chart).first()
        table, strip = pilot.app.screen.query_one("#ranks"), pilot.app.screen.query_one("#skew")
        lines, charts = log.size.height, chart.size.height
        await drag(pilot, log, 0, -4)
        await until(pilot, lambda: log.size.height == lines + 4)
        assert chart.size.height == charts - 4
        rows = table.size.height
        await drag(pilot, chart, 0, 2)
        await until(pilot, lambda: table.size.height == rows + 2)
        assert log.size.height == lines + 4
        width = strip.size.width
        await drag(pilot, strip, -5, 0)
        await until(pilot, lambda: strip.size.width == width + 5)
    assert set(load(settings_path())[0].panels) == {"ranks", "charts", "strip"}
