"""The checks of the new-run screen: rows come in, red ones are overridden by name, a key starts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fake_source import FakeSource, answer
from pilots import everything, sees, showing, until
from textual.pilot import Pilot
from textual.widgets import Input

from launcher.client import Row
from launcher.core.checks import machine_rules
from launcher.core.run.requests import StartRequest
from tui.model.checks import CheckBoard
from tui.screens.new_run import NewRunScreen
from tui.screens.run import RunScreen
from tui.sources.messages import ChecksChanged, PlanMade
from tui.sources.source import PlanText, SourceError

HINT = "python -m effnet data digits data/digits makes a small set to try with."


def red_source() -> FakeSource:
    source = FakeSource()
    source.preflight_rows = [
        answer("python", "alpha", "ok", "Python 3.11.7"),
        answer("python", "beta", "ok", "Python 3.11.7"),
        answer("clock", "beta", "failed", "90.0 s ahead of alpha", "timedatectl set-ntp true"),
        answer("disk", "alpha", "warning", "5 GB free at /runs", "Make room there."),
        answer("data", "alpha", "failed", "/data: No such file or directory", HINT),
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
async def test_rows_turn_green_as_results_arrive(size: tuple[int, int]) -> None:
    source = FakeSource()
    source.may_answer.clear()
    async with showing(source, size, run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "checks  0 of 2", "checking …", ". python", ". data")
        source.may_answer.set()
        await sees(
            pilot, "checks  2 of 2", "ctrl+s: start", "✓ python", "Python 3.11.7",
            "✓ data", "10 classes in train",
        )  # fmt: skip


async def test_start_pressed_early_waits_for_green() -> None:
    source = FakeSource()
    source.may_answer.clear()
    async with showing(source, (120, 36), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "checking …", "effnet-launch start")
        await pilot.press("ctrl+s")
        await sees(pilot, "starts when plan and checks are done")
        assert source.sent == []
        source.may_answer.set()
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert source.sent == [("local-cpu", StartRequest())]


@pytest.mark.parametrize("older_fails", [False, True])
async def test_the_plan_of_an_older_request_does_not_replace_the_newer_one(
    older_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, handled = NewRunScreen.on_plan_made, list[int]()
    monkeypatch.setattr(
        NewRunScreen,
        "on_plan_made",
        lambda self, message: handled.append(message.number) or handle(self, message),
    )
    source = FakeSource()
    plan, began, may_end = source.plan, threading.Event(), threading.Event()

    def first_is_last(profile: str, request: StartRequest) -> PlanText:
        if not request.settings:
            began.set()
            may_end.wait(300)
            if older_fails:
                raise SourceError("the older plan fails")
        return (*plan(profile, request), (f"plan of {dict(request.settings)}", ()))

    source.plan = first_is_last  # type: ignore[method-assign]
    async with showing(source, (120, 48), run=None) as pilot:
        await opened(pilot)
        await until(pilot, began.is_set)
        await pilot.press("slash", *"batch_size=8", "enter")
        await sees(pilot, "plan of {'batch_size': '8'}")
        may_end.set()
        await until(pilot, lambda: handled == [2, 1])
        assert "plan of {'batch_size': '8'}" in everything(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [("local-cpu", StartRequest((("batch_size", "8"),)))]


def test_an_answer_to_an_older_request_replaces_no_newer_one_that_waits() -> None:
    old, new = (ChecksChanged(number, CheckBoard()) for number in (1, 2))
    assert old.can_replace(new)
    assert not new.can_replace(old)
    assert not new.can_replace(PlanMade(3, ()))


async def test_a_red_row_stops_the_start_and_shows_the_fix() -> None:
    source = red_source()
    async with showing(source, (100, 30), run=None) as pilot:
        await opened(pilot)
        await sees(
            pilot, "2 failed", "✗ clock", "beta: 90.0 s ahead of alpha", "→ timedatectl",
            "! disk", "✗ data", HINT[:40], "o: ignore one by name",
        )  # fmt: skip
        await pilot.press("ctrl+s")
        await sees(pilot, "not started: 2 checks failed")
        assert source.sent == []


async def test_red_rows_are_ignored_only_by_name() -> None:
    source = red_source()
    async with showing(source, (100, 36), run=None) as pilot:
        screen = await opened(pilot)
        await sees(pilot, "2 failed")
        await pilot.press("o", *"disk", "enter")
        await sees(pilot, "no failed check 'disk'")
        screen.query_one("#ignore", Input).value = ""
        await pilot.press(*"clock@beta", "enter")
        await sees(pilot, "1 failed", "1 ignored", "ignored: beta: 90.0 s", "--ignore clock@beta")
        await pilot.press("ctrl+s")
        await sees(pilot, "not started: 1 check failed")
        assert source.sent == []
        await pilot.press("o", *"data", "enter")
        await sees(pilot, "2 ignored", "ctrl+s: start")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [("local-cpu", StartRequest(ignore=("clock@beta", "data")))]


async def test_escape_leaves_the_field_first_and_c_checks_again() -> None:
    source = red_source()
    async with showing(source, (100, 30), run=None) as pilot:
        screen = await opened(pilot)
        await sees(pilot, "2 failed")
        await pilot.press("o")
        assert screen.query_one("#ignore").has_class("-open")
        await pilot.press("escape")
        assert pilot.app.screen is screen
        assert not screen.query_one("#ignore").has_class("-open")
        source.preflight_rows = [answer("python", "alpha", "ok", "Python 3.11.7")]
        await pilot.press("c")
        await sees(pilot, "1 of 1", "ctrl+s: start")
        await pilot.press("slash", *"batch_size=8", "enter")
        await until(pilot, lambda: source.preflights[-1].settings == (("batch_size", "8"),))
        await pilot.press("escape")
        await sees(pilot, "2 runs")


async def test_a_preflight_that_fails_is_not_green() -> None:
    source = FakeSource()

    def refuse(*arguments: object) -> None:
        raise SourceError("profile broken.toml: nodes: missing")

    source.preflight = refuse  # type: ignore[method-assign]
    async with showing(source, (100, 30), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "not checked: profile broken.toml")
        await pilot.press("ctrl+s")
        await pilot.pause(0.3)
        assert source.sent == []


async def test_many_nodes_share_one_line_per_check() -> None:
    source = FakeSource()
    checks = ("reachable", "python", "mindspore", "address", "disk", "data")
    source.preflight_rows = [
        answer(check, f"node-{at}", "ok", "fine") for at in range(128) for check in checks
    ]
    source.preflight_rows[5] = answer("data", "node-0", "failed", "gone", "Copy it.")
    async with showing(source, (80, 24), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "768 of 768, 1 failed", "node-0: gone", "→ Copy it.")
        assert everything(pilot).count("✗") == 1


def test_a_board_groups_by_check_and_answer() -> None:
    board = CheckBoard((("python", "a"), ("python", "b"), ("data", "a"), ("data", "b")))
    assert [group.nodes for group in board.groups()] == [("a", "b"), ("a", "b")]
    board = board.with_row(answer("data", "b", "failed", "gone", "fix it"))
    board = board.with_row(answer("data", "a", "ok", "10 classes"))
    groups = board.groups()
    assert [(g.check, g.state, g.nodes) for g in groups] == [
        ("python", "pending", ("a", "b")), ("data", "failed", ("b",)), ("data", "ok", ("a",)),
    ]  # fmt: skip
    assert not board.is_green
    with pytest.raises(ValueError, match="failed: data"):
        board.with_ignored("python")
    done = board.with_ignored("data@b").done()
    assert done.is_green
    # With a supervisor on the first node it is not asked for what only SSH from here can find.
    assert done.words == "2 of 2, 1 ignored"


def test_live_source_checks_this_machine_and_names_ignored_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.sources.live import LiveSource

    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    # The disk of the machine that tests run on may be nearly full.
    monkeypatch.setattr(machine_rules, "LOW_FREE_BYTES", 0)
    (tmp_path / "data" / "train" / "a").mkdir(parents=True)
    source, came = LiveSource(), list[Row]()
    request = StartRequest((("class_num", "1"),), str(tmp_path / "data"))
    source.preflight("local-cpu", request, came.append)
    assert {(row.check, row.node) for row in came} == set(source.checks("local-cpu"))
    assert {row.state for row in came} == {"ok"}, came
