"""The table of ranks: its order, its worst row, jumping to a rank, and its headings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_source import FakeRun, FakeSource
from pilots import sees, showing, text_of, until
from textual.pilot import Pilot

from launcher.client import RankSnapshot
from tui.drawing.glyphs import ASCII
from tui.drawing.themes import DARK
from tui.widgets.rank_columns import COLUMNS, SORTS, sorted_rows
from tui.widgets.rank_table import RankTable


def uneven(ranks: int) -> FakeRun:
    """Each rank has another lateness, age and memory; of rank 1 nothing is known."""
    run, plain = FakeRun(ranks), FakeRun(ranks).row

    def row(rank: int) -> RankSnapshot:
        if rank == 1:
            return replace(plain(rank), lateness_ms=None, memory_bytes=None, step_s=None)
        return replace(
            plain(rank),
            lateness_ms=float(rank * 7 % ranks),
            memory_bytes=(1000 + rank * 5 % ranks) << 20,
            step_s=plain(rank).step_s - rank * 3 % ranks,  # type: ignore[operator]
        )

    run.row = row  # type: ignore[method-assign]
    return run


def ranks_in(pilot: Pilot[str]) -> list[int]:
    rows = text_of(pilot, "#ranks").splitlines()[1:]
    return [int(row[2:6]) for row in rows]


def heading(pilot: Pilot[str]) -> str:
    return text_of(pilot, "#ranks").splitlines()[0]


def table_of(pilot: Pilot[str]) -> RankTable:
    return pilot.app.screen.query_one(RankTable)


async def test_o_sorts_by_each_column_and_o_shifted_turns_the_order_around() -> None:
    run = uneven(8)
    rows = [run.row(rank) for rank in range(8)]
    async with showing(FakeSource(run), (120, 36)) as pilot:
        await sees(pilot, "RUNNING", "↑rank")
        for name, arrow, value in (
            ("late", "↓late", lambda rank: rank.lateness_ms),
            ("age", "↓age", lambda rank: -rank.step_s),
            ("memory", "↓memory", lambda rank: rank.memory_bytes),
        ):
            known = sorted((row for row in rows if row.rank != 1), key=value)
            await pilot.press("o")
            await until(pilot, lambda arrow=arrow: arrow in heading(pilot))  # type: ignore[misc]
            assert ranks_in(pilot) == [*(row.rank for row in reversed(known)), 1], name
            await pilot.press("O")
            await until(pilot, lambda name=name: f"↑{name}" in heading(pilot))  # type: ignore[misc]
            assert ranks_in(pilot) == [*(row.rank for row in known), 1], name
        await pilot.press("o")
        await until(pilot, lambda: "↑rank" in heading(pilot))
        assert ranks_in(pilot) == list(range(8))


async def test_the_cursor_stays_on_its_rank_when_the_order_changes() -> None:
    run = uneven(8)
    async with showing(FakeSource(run), (120, 36)) as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        await pilot.press("j", "j", "j", "o")
        await until(pilot, lambda: "↓late" in heading(pilot))
        assert table_of(pilot).rank == 3
        late = run.row
        run.row = lambda rank: (  # type: ignore[method-assign]
            replace(late(rank), lateness_ms=900.0) if rank == 3 else late(rank)
        )
        await until(pilot, lambda: ranks_in(pilot)[0] == 3)
        assert table_of(pilot).rank == 3
        await sees(pilot, "log rank 3")


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (160, 48)])
@pytest.mark.parametrize("ranks", [64, 1024])
async def test_headings_are_whole_and_the_worst_rank_is_there_with_many_ranks(
    size: tuple[int, int], ranks: int
) -> None:
    run = FakeRun(ranks, nodes=8)
    run.late = 37
    async with showing(FakeSource(run), size) as pilot:
        await until(pilot, lambda: 37 in ranks_in(pilot))
        for _ in SORTS:
            titles = {column.title for column in COLUMNS} | {" "}
            shown = heading(pilot).replace("step time", "step_time").split()
            found = {word.strip("↑↓").replace("_", " ") for word in shown if "/" not in word}
            assert found <= titles, heading(pilot)
            assert any(word.startswith(("↑", "↓")) for word in shown)
            before = heading(pilot)
            await pilot.press("o")
            await until(pilot, lambda before=before: heading(pilot) != before)  # type: ignore[misc]
        run.fail(ranks - 5)
        await until(pilot, lambda: ranks - 5 in ranks_in(pilot))
        assert "SIGKILL" in text_of(pilot, "#ranks")


async def test_the_worst_row_is_tinted_in_its_whole_width() -> None:
    run = FakeRun(8)
    run.late = 5
    async with showing(FakeSource(run), (120, 36), theme="dark") as pilot:
        await sees(pilot, "!    5")
        lines = table_of(pilot)._lines
        tinted = [
            row
            for row, strip in enumerate(lines[1:])
            if all(part.style and part.style.bgcolor == DARK.tint.bgcolor for part in strip)
        ]
        assert tinted == [5]
        assert lines[6].cell_length == table_of(pilot).content_size.width


async def test_colon_goes_to_a_rank_from_any_panel() -> None:
    async with showing(FakeSource(FakeRun(64, nodes=8))) as pilot:
        await sees(pilot, "RUNNING", "log rank 0")
        await pilot.press("tab", "tab", *":37", "enter")
        await sees(pilot, "log rank 37")
        assert table_of(pilot).has_focus
        assert table_of(pilot).rank == 37
        for wrong in ("64", "x", "²", "9" * 5000):
            await pilot.press("colon")
            prompt = pilot.app.screen.query_one("#prompt")
            prompt.value = wrong  # type: ignore[attr-defined]
            await pilot.press("enter")
            await sees(pilot, f"no rank {wrong[:2]}")
        await sees(pilot, "type 0 to 63")
        await pilot.press("colon", "escape")
        assert table_of(pilot).rank == 37


async def test_a_click_chooses_the_row_under_the_mouse_also_the_pinned_one() -> None:
    async with showing(FakeSource(FakeRun(64, nodes=8))) as pilot:
        await sees(pilot, "!   63")
        row = ranks_in(pilot).index(63)
        await pilot.click("#ranks", offset=(10, row + 1))
        await sees(pilot, "log rank 63")


def test_what_is_not_known_comes_last_in_every_order() -> None:
    run = uneven(6)
    rows = [run.row(rank) for rank in range(6)]
    for name in SORTS:
        for is_reversed in (False, True):
            order = sorted_rows(rows, name, is_reversed)
            assert sorted(order) == list(range(6))
            if name != "rank":
                assert order[-1] == 1
    assert ASCII.down == "v"
