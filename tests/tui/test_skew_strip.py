"""The lateness strip shows the ranks of the table beside it, or else the worst ranks first."""

from __future__ import annotations

from fake_source import FakeRun, FakeSource
from pilots import sees, showing, text_of, until
from textual.pilot import Pilot

from tui.widgets.rank_table import RankTable


def ranks_of_strip(pilot: Pilot[str], selector: str = "#skew") -> list[int]:
    words = [line.split() for line in text_of(pilot, selector).splitlines()[1:]]
    return [int(line[0]) for line in words if line and line[0].isdecimal()]


def ranks_of_table(pilot: Pilot[str]) -> list[int]:
    lines = text_of(pilot, "#ranks").splitlines()[1:]
    return [int(line[2:7].split()[0]) for line in lines]


async def test_beside_the_table_the_strip_scrolls_and_sorts_with_it() -> None:
    run = FakeRun(64, nodes=8)
    run.late = 37
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "who is late")
        for keys in (("down",), ("G",), ("k",) * 9, ("o",), ("O",), ("g",), ("w",)):
            await pilot.press(*keys)
            await until(pilot, lambda: ranks_of_strip(pilot) == ranks_of_table(pilot))
            assert 37 in ranks_of_strip(pilot)
        top = pilot.app.screen.query_one("#skew").region.y
        assert top == pilot.app.screen.query_one(RankTable).region.y


async def test_below_the_table_the_worst_ranks_come_first() -> None:
    async with showing(FakeSource(FakeRun(64)), (120, 46)) as pilot:
        await sees(pilot, "RUNNING", "the worst first; ")
        await until(pilot, lambda: ranks_of_strip(pilot, "#skew-below")[0] == 63)
        await pilot.press("down", "down")
        await sees(pilot, "log rank 2")
        assert ranks_of_strip(pilot, "#skew-below")[0] == 63
