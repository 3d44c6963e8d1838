"""Home: finding, sorting, marking and deleting runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_source import NOW, FakeSource, summary
from pilots import everything, sees, showing, text_of, until
from textual.pilot import Pilot

from launcher.core.history.summary import RunSummary
from launcher.core.run.requests import RemoveRequest, Request
from tui.screens.confirm import ConfirmScreen
from tui.screens.home import HomeScreen
from tui.sources.source import SourceError
from tui.widgets.run_table import RunTable

CAUSE = "rank 1: the kernel killed it: the node ran out of memory"


def source_of(*runs: RunSummary, **changes: Any) -> FakeSource:
    source = FakeSource()
    source.view = replace(source.view, runs=runs, **changes)
    return source


def some() -> FakeSource:
    """A live run, a failed one, and four that ended well."""
    return source_of(
        summary("live-1", "running", 400, step_s=NOW - 1, epoch=2, epochs=20, progress=0.11,
                loss=1.38, eta_s=700.0, duration_s=400.0, world_size=8),
        summary("bad-1", "failed", 9000, cause=CAUSE, note="warm-up", config={"lr_max": 0.1},
                best_top_1=0.25, duration_s=60.0),
        *(
            summary(f"good-{at}", "finished", 10_000 + at, best_top_1=0.5 + at / 10,
                    duration_s=4000.0 - at, config={"lr_max": 0.2 + at, "variant": "b2"},
                    note="second try" if at == 3 else "")
            for at in range(4)
        ),
    )  # fmt: skip


def names(pilot: Pilot[str]) -> list[str]:
    return list(pilot.app.screen.query_one(RunTable)._keys)


async def test_the_list_has_headings_figures_causes_and_a_position() -> None:
    async with showing(some(), (200, 48), run=None) as pilot:
        await sees(pilot, "6 runs, 1 live", "1/6")
        head = text_of(pilot, "#runs").splitlines()[0].split()
        titles = ["state", "run", "ranks", "epoch", "done", "loss", "top-1", "took", "left", "age"]
        assert head == [*titles, "note"]
        await sees(pilot, f"{CAUSE} · warm-up")
        line = next(line for line in text_of(pilot, "#runs").splitlines() if "live-1" in line)
        figures = "● running live-1 8 3/20 11 % 1.380 – 7 min 12 min 1.0 s"
        assert " ".join(line.split()[1:]) == figures
        await pilot.press("end")
        await sees(pilot, "6/6", "good-3 · local-cpu · second try")


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (240, 60)])
async def test_a_cause_is_not_cut_in_favour_of_figures(size: tuple[int, int]) -> None:
    async with showing(some(), size, run=None) as pilot:
        await sees(pilot, "rank 1: the kernel killed it: the")
        if size[0] >= 80:
            await sees(pilot, CAUSE)
        lines = everything(pilot).splitlines()
        assert max(map(len, lines)) <= size[0]
        assert any("good-0" in line and "50 %" not in line for line in lines)


async def test_a_filter_is_followed_while_it_is_typed() -> None:
    async with showing(some(), (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("slash", *"lr_max>0.15")
        await sees(pilot, "4 of 6 runs", "filter: lr_max>0.15", "1/4")
        assert names(pilot) == ["good-0", "good-1", "good-2", "good-3"]
        await pilot.press("space", *"top1>60%")
        await sees(pilot, "2 of 6 runs")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, RunTable))
        assert names(pilot) == ["good-2", "good-3"]
        await pilot.press("slash", "space", *"-try")
        await sees(pilot, "1 of 6 runs")
        await pilot.press("escape")  # takes back what was typed last
        await sees(pilot, "2 of 6 runs")
        await pilot.press("escape")
        await sees(pilot, "6 runs, 1 live")


async def test_a_wrong_filter_names_the_nearest_field_and_keeps_the_list() -> None:
    async with showing(some(), (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("slash", *"state:failed")
        await sees(pilot, "1 of 6 runs")
        await pilot.press("space", *"lrmax>1")
        await sees(pilot, "there is no field 'lrmax'; did you mean 'lr_max'?")
        await pilot.press("enter")  # it stays open, with the text
        await pilot.pause()
        await sees(pilot, "did you mean 'lr_max'?", "state:failed lrmax>1")
        for _ in "lrmax>1":
            await pilot.press("backspace")
        await pilot.press("enter")
        await sees(pilot, "1 of 6 runs")


async def test_a_filter_without_a_match_says_so() -> None:
    async with showing(some(), (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("slash", *"nothing", "enter")
        await sees(pilot, "No run matches the filter.", "0 of 6 runs")
        await pilot.press("enter", "space", "d")  # nothing to act on
        await pilot.press("escape")
        await sees(pilot, "6 runs, 1 live")


async def test_every_column_sorts_and_shows_the_direction() -> None:
    async with showing(some(), (160, 48), run=None) as pilot:
        await sees(pilot, "6 runs")
        usual = names(pilot)
        found: dict[str, list[str]] = {}
        for _ in range(11):
            await pilot.press("o")
            await pilot.pause()
            title = next(word for word in text_of(pilot, "#runs").split() if word[0] in "↑↓")
            found[title] = names(pilot)
        assert list(found) == [
            "↑state", "↑run", "↓ranks", "↓epoch", "↓done", "↑loss", "↓top-1", "↓took", "↑left",
            "↑age", "↑note",
        ]  # fmt: skip
        assert found["↓top-1"] == ["good-3", "good-2", "good-1", "good-0", "bad-1", "live-1"]
        assert found["↑note"][:2] == ["good-3", "bad-1"]
        assert found["↓ranks"][0] == "live-1"
        await pilot.press("O")
        await until(pilot, lambda: "↓note" in everything(pilot))
        assert names(pilot)[:2] == ["bad-1", "good-3"]
        await pilot.press("o")
        await until(pilot, lambda: names(pilot) == usual)


async def test_a_click_on_a_heading_sorts_and_turns_around() -> None:
    async with showing(some(), (160, 48), run=None) as pilot:
        await sees(pilot, "6 runs")
        at = everything(pilot).splitlines()[1].index("top-1")
        await pilot.click("#runs", offset=(at, 0))
        await until(pilot, lambda: "↓top-1" in everything(pilot))
        await pilot.click("#runs", offset=(at, 0))
        await until(pilot, lambda: "↑top-1" in everything(pilot))
        assert names(pilot)[:2] == ["bad-1", "good-0"]


async def test_the_cursor_stays_on_its_run_when_the_order_changes() -> None:
    async with showing(some(), (160, 48), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("down")
        for _ in range(7):
            await pilot.press("o")
            await pilot.pause()
            assert pilot.app.screen.query_one(RunTable).key == "bad-1"


async def test_marks_are_shown_and_end_with_their_run() -> None:
    source = some()
    async with showing(source, (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("down", "space", "space")
        await sees(pilot, "2 marked", "+○")
        source.view = replace(source.view, runs=source.view.runs[:2])
        await pilot.press("r")
        await sees(pilot, "2 runs, 1 live", "1 marked")


async def test_deleting_asks_with_the_command_and_removes_the_marked_runs() -> None:
    source = some()
    async with showing(source, (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("down", "space", "space", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        command = "effnet-launch prune --run bad-1 --run good-0"
        await sees(pilot, "Delete 2 runs?", "cannot be undone", command)
        assert source.sent == []
        await pilot.press("escape", "d", "y")
        await until(pilot, lambda: len(source.sent) == 2)
        assert source.sent == [("bad-1", RemoveRequest()), ("good-0", RemoveRequest())]
        await sees(pilot, "2 runs deleted")


def _refuse(source: FakeSource) -> Callable[[str, Request], str]:
    def send(target: str, request: Request) -> str:
        source.sent.append((target, request))
        raise SourceError(f"{target} stays: node-b does not answer")

    return send


async def test_a_run_that_cannot_be_deleted_says_why_and_the_others_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = some()
    monkeypatch.setattr(source, "send", _refuse(source))
    async with showing(source, (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("down", "space", "space", "d", "y")
        await sees(pilot, "bad-1 stays: node-b does not answer")
        assert [target for target, _ in source.sent] == ["bad-1", "good-0"]


async def test_live_runs_and_a_readonly_dashboard_refuse_with_the_reason() -> None:
    source = some()
    async with showing(source, (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("d")
        await sees(pilot, "live-1 is not over; stop it first")
    async with showing(source, (100, 30), run=None, readonly=True) as pilot:
        await sees(pilot, "6 runs")
        await pilot.press("down", "d")
        await sees(pilot, "started with --readonly")
    assert source.sent == []


async def test_thousands_of_runs_cost_a_screen_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    row = RunTable._row
    monkeypatch.setattr(RunTable, "_row", lambda self, at: drawn.append(at) or row(self, at))
    source = source_of(*(summary(f"run-{at:05}", "finished", at) for at in range(5000)))
    async with showing(source, (80, 24), run=None) as pilot:
        await sees(pilot, "5000 runs, 0 live", "1/5000")
        home = pilot.app.screen
        assert isinstance(home, HomeScreen)
        assert home.feed is not None
        home.feed.hold()  # each poll draws the rows too
        for key in ("end", "home", "pagedown", "down"):
            drawn.clear()
            await pilot.press(key)
            await pilot.pause()
            assert 0 < len(drawn) <= 24 * 3
        await sees(pilot, "12/5000")


async def test_runs_that_are_not_read_yet_are_counted_and_read_at_once() -> None:
    source = some()
    source.view = replace(source.view, unread=700)
    async with showing(source, (100, 30), run=None) as pilot:
        await sees(pilot, "6 runs, 1 live", "reading 700 more …")
        source.view = replace(source.view, unread=0)
        await until(pilot, lambda: "reading" not in everything(pilot))
