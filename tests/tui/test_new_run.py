"""The checks of the new-run screen: rows come in, red ones are overridden by name, a key starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_source import FakeSource
from pilots import everything, sees, showing, until
from textual.pilot import Pilot
from textual.widgets import Input

from tui.model.checks import Check, waiting
from tui.screens.new_run import NewRunScreen
from tui.screens.run import RunScreen
from tui.sources.source import SourceError

HINT = "python -m effnet data digits data/digits makes a small set to try with."


def red_source() -> FakeSource:
    source = FakeSource()
    source.preflight_rows = [
        Check("python", "alpha", "ok", "Python 3.11.7"),
        Check("python", "beta", "ok", "Python 3.11.7"),
        Check("clock", "beta", "failed", "90.0 s ahead of alpha", "timedatectl set-ntp true"),
        Check("disk", "alpha", "warning", "5 GB free at /runs", "Make room there."),
        Check("data", "alpha", "failed", "/data: No such file or directory", HINT),
    ]
    return source


async def opened(pilot: Pilot[str]) -> NewRunScreen:
    await sees(pilot, "2 runs")
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen))
    screen = pilot.app.screen
    assert isinstance(screen, NewRunScreen)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_rows_turn_green_as_they_come_in(size: tuple[int, int]) -> None:
    source = FakeSource()
    source.may_answer.clear()
    async with showing(source, size, run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "checks  0 of 2", "looking …", ". python", ". data")
        source.may_answer.set()
        await sees(
            pilot, "checks  2 of 2", "ctrl+s starts", "✓ python", "Python 3.11.7",
            "✓ data", "10 classes in train",
        )  # fmt: skip


async def test_start_pressed_early_starts_when_it_is_green() -> None:
    source = FakeSource()
    source.may_answer.clear()
    async with showing(source, (120, 36), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "looking …", "effnet-launch start")
        await pilot.press("ctrl+s")
        await sees(pilot, "starts as soon as plan and checks")
        assert source.asked == []
        source.may_answer.set()
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert [name for name, *_ in source.asked] == ["start"]


async def test_a_red_row_stops_the_start_and_shows_what_mends_it() -> None:
    source = red_source()
    async with showing(source, (100, 30), run=None) as pilot:
        await opened(pilot)
        await sees(
            pilot, "2 red", "✗ clock", "beta: 90.0 s ahead of alpha", "→ timedatectl",
            "! disk", "✗ data", HINT[:40], "o overrides one by name",
        )  # fmt: skip
        await pilot.press("ctrl+s")
        await sees(pilot, "red: clock, data")
        assert source.asked == []


async def test_red_rows_are_overridden_only_by_their_names() -> None:
    source = red_source()
    async with showing(source, (100, 36), run=None) as pilot:
        screen = await opened(pilot)
        await sees(pilot, "2 red")
        await pilot.press("o", *"disk", "enter")
        await sees(pilot, "no red check is called 'disk'")
        screen.query_one("#override", Input).value = ""
        await pilot.press(*"clock@beta", "enter")
        await sees(
            pilot, "1 red", "1 overridden", "overridden: beta: 90.0 s", "--ignore clock@beta"
        )
        await pilot.press("ctrl+s")
        await sees(pilot, "red: data")
        assert source.asked == []
        await pilot.press("o", *"data", "enter")
        await sees(pilot, "2 overridden", "ctrl+s starts")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.asked))
        assert source.asked == [("start", "local-cpu", {"ignore": "clock@beta data"})]


async def test_escape_leaves_the_field_first_and_looking_again_asks_anew() -> None:
    source = red_source()
    async with showing(source, (100, 30), run=None) as pilot:
        screen = await opened(pilot)
        await sees(pilot, "2 red")
        await pilot.press("o")
        assert screen.is_asking()
        await pilot.press("escape")
        assert pilot.app.screen is screen
        assert not screen.is_asking()
        source.preflight_rows = [Check("python", "alpha", "ok", "Python 3.11.7")]
        await pilot.press("c")
        await sees(pilot, "1 of 1", "ctrl+s starts")
        await pilot.press("slash", *"batch_size=8", "enter")
        await until(pilot, lambda: source.preflights[-1] == {"batch_size": "8"})
        await pilot.press("escape")
        await sees(pilot, "2 runs")


async def test_a_preflight_that_cannot_be_made_is_no_green() -> None:
    source = FakeSource()

    def refuse(*arguments: object) -> None:
        raise SourceError("profile broken.toml: nodes: missing")

    source.preflight = refuse  # type: ignore[method-assign]
    async with showing(source, (100, 30), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "not looked at: profile broken.toml")
        await pilot.press("ctrl+s")
        await pilot.pause(0.3)
        assert source.asked == []


async def test_many_nodes_are_a_line_a_check() -> None:
    source = FakeSource()
    checks = ("reachable", "python", "mindspore", "address", "disk", "data")
    source.preflight_rows = [
        Check(check, f"node-{at}", "ok", "fine") for at in range(128) for check in checks
    ]
    source.preflight_rows[5] = Check("data", "node-0", "failed", "gone", "Copy it.")
    async with showing(source, (80, 24), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "768 of 768, 1 red", "node-0: gone", "→ Copy it.")
        assert everything(pilot).count("✗") == 1


def test_a_board_groups_by_check_and_answer() -> None:
    board = waiting([("python", "a"), ("python", "b"), ("data", "a"), ("data", "b")])
    assert [group.nodes for group in board.groups()] == [("a", "b"), ("a", "b")]
    board = board.with_check(Check("data", "b", "failed", "gone", "mend"))
    board = board.with_check(Check("data", "a", "ok", "10 classes"))
    groups = board.groups()
    assert [(g.check, g.state, g.nodes) for g in groups] == [
        ("python", "pending", ("a", "b")), ("data", "failed", ("b",)), ("data", "ok", ("a",)),
    ]  # fmt: skip
    assert not board.is_green
    with pytest.raises(ValueError, match="red: data"):
        board.with_override("python")
    done = board.with_override("data@b").done()
    assert done.is_green
    # With a supervisor on the first node it is not asked what only SSH from here would tell.
    assert done.words == "2 of 2, 1 overridden"


def test_the_real_source_asks_this_machine_and_names_what_was_overridden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.sources.live import LiveSource

    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "data" / "train" / "a").mkdir(parents=True)
    source, came = LiveSource(), list[Check]()
    keys = {"data_path": str(tmp_path / "data"), "class_num": "1"}
    source.preflight("local-cpu", keys, came.append)
    assert {check.key for check in came} == set(source.checks("local-cpu"))
    assert {check.state for check in came} == {"ok"}, came
    words = source.command("start", "local-cpu", {"ignore": "data clock@beta", "lr": "0.1"})
    assert words == "effnet-launch start local-cpu --set lr=0.1 --ignore data --ignore clock@beta"
