from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.client import RunStatus, Series
from launcher.core.text.figures import age, duration, milliseconds, number, size_bytes, time_of_day
from tui.charts.curves import axis_end, skew
from tui.charts.decimate import Extent, bridged, smooth
from tui.charts.thinned import LIMIT, Thinned
from tui.drawing.canvas import Canvas
from tui.drawing.glyphs import ASCII, BLOCK, BRAILLE, Glyphs, detect_level
from tui.drawing.layout import FIXED_LINES, MIN_HEIGHT, MIN_WIDTH, PANELS, arrange, too_small
from tui.drawing.text import clean, fit, fit_middle
from tui.drawing.themes import PALETTES
from tui.logs.log_window import compile_pattern
from tui.model.run import SkewData, tone_of
from tui.pace import Pace
from tui.settings import Settings, check, load, save
from tui.widgets.skew_strip import SLOW, heat, worst_first


def test_unknown_is_a_dash_everywhere() -> None:
    for text in (number, milliseconds, size_bytes, duration, age, time_of_day):
        assert text(None) == "–"
        assert text(math.nan) == "–"
    assert size_bytes(-1) == "–"
    assert number(0.0) == "0.00"


def test_numbers_are_formatted_for_people() -> None:
    assert [number(value, 4) for value in (2.30259, 941.3, 12345.6)] == ["2.303", "941.3", "12346"]
    assert [size_bytes(value) for value in (900, 1 << 20, 1288490188)] == [
        "900 B", "1.0 MiB", "1.2 GiB",
    ]  # fmt: skip
    assert [duration(value) for value in (8, 700, 11_100, 190_000)] == [
        "8 s", "12 min", "3 h 05 min", "2 d 4 h",
    ]  # fmt: skip


@given(st.text(), st.integers(0, 40))
def test_a_cell_has_exactly_the_requested_width(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(fit(clean(text), width)) == width


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in clean(text))


def test_ids_are_cut_in_the_middle() -> None:
    assert fit_middle("local-cpu-20261123-191400-ab12", 17) == "local-cp…400-ab12"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 80))
def test_no_peak_is_lost(values: list[float], count: int) -> None:
    thinned = Thinned()
    thinned.update(range(len(values)), values)
    cells = thinned.columns(0, len(values) - 1, count)
    known = [cell for cell in cells if cell is not None]
    assert min(low for low, _ in known) == min(values)
    assert max(high for _, high in known) == max(values)


def test_a_long_series_stays_bounded_and_keeps_its_peaks() -> None:
    thinned = Thinned()
    steps, values = list(range(50_000)), [float(at % 1000) for at in range(50_000)]
    values[31_234] = 1e6
    for end in range(5_000, 50_001, 5_000):
        thinned.update(steps[:end], values[:end])
    assert len(thinned.means()) <= LIMIT
    assert max(cell[1] for cell in thinned.columns(0, 49_999, 100) if cell is not None) == 1e6
    assert thinned.last == values[-1]


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=400),
    st.lists(st.integers(1, 400), max_size=8),
    st.integers(1, 60),
    st.integers(0, 50),
)
def test_columns_built_step_by_step_equal_those_built_at_once(
    values: list[float], cuts: list[int], count: int, later: int
) -> None:
    steps = [3 * at + 7 for at in range(len(values))]
    end = axis_end(steps[0], steps[-1] + later)
    assert steps[-1] <= end <= steps[-1] + later + max((end - steps[0]) // 8, 1)
    growing = Thinned()
    for cut in [*sorted(cuts), len(values)]:
        growing.update(steps[:cut], values[:cut])
        shown = growing.columns(steps[0], end, count)
    assert shown == columns_at_once(steps, values, end, count)


def columns_at_once(
    steps: list[int], values: list[float], end: int, count: int
) -> tuple[Extent | None, ...]:
    """What a chart of a whole series shows from its first step to ``end``."""
    found: list[list[float]] = [[] for _ in range(count)]
    scale = (count - 1e-9) / (end - steps[0])
    for step, value in zip(steps, values, strict=True):
        found[min(int((step - steps[0]) * scale), count - 1)].append(value)
    return tuple((min(some), max(some)) if some else None for some in found)


def test_a_growing_chart_draws_its_newest_columns_only() -> None:
    ends = {axis_end(0, last) for last in range(1000, 1200)}
    assert len(ends) <= 5
    assert [axis_end(5, 5), axis_end(0, 30)] == [5, 30]


def test_a_series_that_restarts_is_read_from_its_start() -> None:
    thinned = Thinned()
    thinned.update([0, 1, 2], [1.0, 2.0, 3.0])
    thinned.update([0, 1], [7.0, 8.0])
    assert (thinned.base, thinned.means()) == (0, [7.0, 8.0])
    thinned.update([5, 6, 7], [1.0, 1.0, 1.0])
    assert (thinned.base, thinned.means()) == (5, [1.0, 1.0, 1.0])


def test_smoothing_has_no_start_bias_and_keeps_gaps() -> None:
    assert smooth([2.0, 2.0, math.nan, 2.0], 0.9)[:2] == pytest.approx([2.0, 2.0])
    assert math.isnan(smooth([2.0, math.nan], 0.9)[1])


def test_sparse_points_are_joined_and_missing_reports_are_not() -> None:
    near = bridged([(1.0, 1.0), None, (3.0, 3.0), None, (5.0, 5.0)])
    assert near == ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (5.0, 5.0))
    far = bridged([(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), *[None] * 9, (1.0, 1.0)])
    assert far.count(None) == 9


@pytest.mark.parametrize("glyphs", [BLOCK, BRAILLE, ASCII])
@given(values=st.lists(st.floats(0.1, 1e6), min_size=1, max_size=40))
def test_every_value_has_a_place_on_the_canvas(glyphs: object, values: list[float]) -> None:
    canvas = Canvas(20, 6, min(values), max(values), True, glyphs)  # type: ignore[arg-type]
    canvas.show([[(value, value) for value in values]])
    drawn = [cell for row in canvas.cells for cell in row if cell is not None]
    assert drawn
    assert all(len(cell.text) == 1 for cell in drawn)


EXTENTS = st.lists(
    st.none() | st.tuples(st.floats(0.1, 50), st.floats(50, 1e6)), min_size=0, max_size=14
)


@pytest.mark.parametrize("glyphs", [BLOCK, BRAILLE, ASCII])
@given(frames=st.lists(st.lists(EXTENTS, min_size=1, max_size=3), min_size=2, max_size=4))
def test_a_canvas_drawn_in_parts_equals_one_drawn_at_once(
    glyphs: Glyphs, frames: list[list[list[tuple[float, float] | None]]]
) -> None:
    kept = Canvas(6, 5, 0.5, 1e5, True, glyphs)
    for curves in frames:
        before = [list(row) for row in kept.cells]
        changed = kept.show(curves)
        fresh = Canvas(6, 5, 0.5, 1e5, True, glyphs)
        fresh.show(curves)
        assert kept.cells == fresh.cells
        assert changed == {
            y for y, (new, old) in enumerate(zip(kept.cells, before, strict=True)) if new != old
        }


@given(
    st.integers(MIN_WIDTH, 300), st.integers(MIN_HEIGHT, 120), st.integers(0, 1024),
    st.sets(st.sampled_from(PANELS)), st.sampled_from(["", *PANELS]), st.integers(0, 14),
)  # fmt: skip
def test_panels_never_overlap(
    width: int, height: int, ranks: int, shown: set[str], zoom: str, card: int
) -> None:
    layout = arrange(width, height, ranks, shown, zoom, card)
    beside = bool(layout.skew_width)
    lines = layout.card + layout.charts + layout.log
    lines += max(layout.table, layout.skew) if beside else layout.table + layout.skew
    assert lines <= height - FIXED_LINES
    assert all(value >= 0 for value in (layout.table, layout.skew, layout.charts, layout.log))


def test_everything_fits_in_80_by_24() -> None:
    layout = arrange(80, 24, 8, set(PANELS))
    assert (layout.table, layout.charts >= 6, layout.log >= 5) == (9, True, True)
    assert too_small(59, 24)
    assert not too_small(80, 24)


def test_slow_frames_lower_the_rate_and_fast_ones_raise_it() -> None:
    pace = Pace(4)
    for _ in range(20):
        pace.record(0.1)
    assert (pace.hz, "slowed" in pace.badge) == (2, True)
    for _ in range(20):
        pace.record(0.4)
    assert pace.hz == 1
    for _ in range(200):
        pace.record(0.001)
    assert (pace.hz, pace.badge) == (4, "4 Hz")


def test_a_rate_set_by_the_user_is_kept() -> None:
    pace = Pace(4)
    pace.choose_next()
    for _ in range(200):
        pace.record(0.001)
    assert pace.hz == 2


def test_settings_round_trip_and_errors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "dashboard.toml"
    settings = Settings(theme="light", refresh_hz=2, keymap={"run.stop": "S", 'a"b': "c\\d"})
    save(path, settings)
    assert load(path) == (settings, ())
    found, problems = check({"theme": "pink", "refresh_hz": 99, "colour": 1, "bell": False}, "x")
    assert found == Settings(bell=False)
    assert len(problems) == 3
    path.write_text("= nonsense")
    assert load(path)[0] == Settings()
    assert load(path)[1]


def test_glyphs_fit_the_terminal() -> None:
    assert detect_level({"LANG": "en_US.UTF-8"}) == "block"
    assert detect_level({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "C.UTF-8"}) == "ascii"
    assert detect_level({"TERM": "linux", "LANG": "C.UTF-8"}) == "ascii"
    assert detect_level({}, "ascii") == "ascii"


def test_an_invalid_regular_expression_is_searched_as_text() -> None:
    pattern = compile_pattern("loss:[")
    assert pattern is not None
    assert pattern.search("LOSS:[2.3")
    case = compile_pattern("Error")
    assert case is not None
    assert not case.search("error")
    assert compile_pattern("") is None


def test_lateness_is_a_share_of_the_step() -> None:
    assert [heat(late) for late in (-0.05, 0.04, 0.06, 0.15, 0.3, 0.9)] == [0, 0, 1, 2, 3, 4]
    assert heat(None) is None


def skew_of(rows: list[list[float]]) -> SkewData:
    """Of ranks on node-a whose work took so many ms, report by report."""

    def series(rank: int, field: str) -> Series:
        steps = list(range(len(rows[rank])))
        return Series(rank, field, steps, rows[rank], [float(step) for step in steps])

    return skew(series, ["node-a"] * len(rows), 8)


def test_a_step_that_is_slow_for_all_ranks_makes_none_late() -> None:
    data = skew_of([[100.0] * 6 + [300.0, 310.0]] * 2 + [[100.0] * 6 + [302.0, 305.0]])
    assert data.words == ""
    assert {heat(late) for row in data.bins for late in row} == {0}
    assert [by >= SLOW for by in data.slow] == [False] * 6 + [True] * 2


def test_a_rank_that_is_late_by_its_title_is_late_in_its_cells() -> None:
    data = skew_of([[100.0] * 8, [100.0] * 8, [100.0] * 3 + [130.0] * 5])
    assert data.words.startswith("rank 2 on node-a is 30 % late")
    assert [heat(late) for late in data.bins[2]] == [0, 0, 0, 3, 3, 3, 3, 3]


def test_the_worst_ranks_are_first_when_there_is_no_room_for_all() -> None:
    rows = [[100.0] * 8 for _ in range(64)]
    rows[37] = [100.0] * 2  # it died
    rows[50] = [150.0] * 8
    data = skew_of(rows)
    assert worst_first(data)[:3] == [37, 50, 0]


def test_a_followed_filtered_log_reads_only_new_lines() -> None:
    from fake_source import ListLog

    from tui.logs.log_window import LogWindow

    log = ListLog(["an error", *["plain"] * 500])
    window = LogWindow(log, "log")
    window.next_level()
    window.next_level()
    assert [line for line, _ in window.frame().lines] == [0]
    looked: list[int] = []
    plain = log.matches

    def matches(pattern: object, start: int, step: int, count: int) -> list[tuple[int, str]]:
        looked.append(start)
        return plain(pattern, start, step, count)  # type: ignore[arg-type]

    log.matches = matches  # type: ignore[method-assign]
    log.all += ["plain", "one error more"]
    assert [line for line, _ in window.frame().lines] == [0, 502]
    assert looked == [500]


@pytest.mark.parametrize("status", RunStatus)
def test_every_state_has_a_style_in_every_theme(status: RunStatus) -> None:
    """The card of a stopped run looked for a style called idle and ended the dashboard."""
    for palette in PALETTES.values():
        assert palette.by_tone(tone_of(status.value)) is not None


def test_the_time_of_day_is_that_of_the_reader() -> None:
    assert time_of_day(datetime(2026, 1, 2, 3, 4).timestamp()) == "03:04"
    assert time_of_day(1e300) == "–"
