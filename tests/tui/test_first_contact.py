"""What somebody sees who opens the dashboard for the first time, and when something is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_source import RUN, FakeRun, FakeSource
from pilots import everything, sees, showing, until
from test_new_run import opened, red_source
from textual.widgets import Input

from launcher import client
from launcher.client import ProfileEntry, find_profile
from launcher.core.run.requests import StartRequest
from launcher.errors import SettingsError
from tui.screens.new_run import NewRunScreen
from tui.screens.run import RunScreen
from tui.sources.live import LiveSource
from tui.sources.source import SourceError
from tui.widgets.hint_bar import HintBar
from tui.widgets.log_view import LogView
from tui.widgets.rank_table import RankTable

CURSOR = "▶"


def without_runs() -> FakeSource:
    source = FakeSource()
    source.view = replace(source.view, runs=())
    return source


def remote_source() -> FakeSource:
    source = FakeSource()
    profile = find_profile("cpu-2-nodes-ssh")
    entry = ProfileEntry("cpu-2-nodes-ssh", "x.toml", False, profile)
    source.view = replace(source.view, runs=(), profiles=(entry,))
    return source


async def test_without_runs_the_keys_go_to_the_profiles() -> None:
    async with showing(without_runs(), run=None) as pilot:
        await sees(pilot, "No runs yet.", f"{CURSOR} local-cpu")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen))


async def test_exactly_one_cursor_is_visible_where_the_keys_go() -> None:
    async with showing(FakeSource(FakeRun(3)), (100, 30), run=None) as pilot:
        await sees(pilot, f"{CURSOR} ", "2 runs")

        def cursors() -> list[str]:
            return [line for line in everything(pilot).splitlines() if CURSOR in line]

        assert [RUN[:9] in line for line in cursors()] == [True]
        await pilot.press("tab")
        await until(pilot, lambda: ["two ranks" in line for line in cursors()] == [True])
        await pilot.press("tab", "enter")
        await sees(pilot, "RUNNING", "log rank")
        await until(pilot, lambda: len(cursors()) == 1 and "node-a" in cursors()[0])
        await pilot.press("slash", *"Traceback", "enter")
        await until(pilot, lambda: ["Traceback" in line for line in cursors()] == [True])
        pilot.app.screen.query_one(RankTable).focus()
        for key in ("s", "t", "e", "question_mark"):  # a dialog takes the keys
            before = pilot.app.screen
            await pilot.press(key)
            await until(pilot, lambda before=before: pilot.app.screen is not before)  # type: ignore[misc]
            await until(pilot, lambda: not any("node-a" in line for line in cursors()))
            await pilot.press("escape")
            await until(pilot, lambda before=before: pilot.app.screen is before)  # type: ignore[misc]


async def test_opening_a_profile_contacts_no_remote_node_until_it_is_asked_to() -> None:
    source = remote_source()
    async with showing(source, run=None) as pilot:
        await sees(pilot, f"{CURSOR} cpu-2-nodes-ssh")
        await pilot.press("enter")
        await sees(
            pilot,
            "effnet-launch start cpu-2-nodes-ssh",
            "checks  not run",
            "ctrl+s: check, then start",
        )
        await pilot.press("slash", *"batch_size=8", "enter")
        await sees(pilot, "--set batch_size=8")
        assert source.preflights == []
        await pilot.press("c")
        await sees(pilot, "2 of 2", "ctrl+s: start")
        assert len(source.preflights) == 1


async def test_a_start_checks_the_nodes_first() -> None:
    source = remote_source()
    async with showing(source, run=None) as pilot:
        await sees(pilot, f"{CURSOR} cpu-2-nodes-ssh")
        await pilot.press("enter")
        await sees(pilot, "checks  not run", "effnet-launch start")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert len(source.preflights) == 1
        assert [target for target, _ in source.sent] == ["cpu-2-nodes-ssh"]


async def test_fields_are_on_the_smallest_usual_screen_and_a_placeholder_is_no_value() -> None:
    async with showing(red_source(), (80, 24), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "2 failed")
        shown = everything(pilot)
        for field in pilot.app.screen.query("#left Input").results(Input):
            assert field.placeholder.startswith("(")
            assert f" {field.id}".replace("settings", "set").replace("data_path", "data") in shown
            assert field.region.bottom <= 24
            assert field.placeholder[:30] in shown


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)])
async def test_a_message_does_not_cover_what_it_is_about(size: tuple[int, int]) -> None:
    async with showing(red_source(), size, run=None) as pilot:
        screen = await opened(pilot)
        await sees(pilot, "2 failed")
        await until(pilot, lambda: screen._board.is_done and not screen._is_planning)
        await pilot.pause()
        before = everything(pilot).splitlines()
        await pilot.press("ctrl+s")
        await sees(pilot, "not started: 2 checks failed")
        after = everything(pilot).splitlines()
        assert after[:-1] == before[:-1]
    async with showing(FakeSource(), size) as pilot:
        await sees(pilot, "RUNNING", "log rank")
        await pilot.press("y")
        await sees(pilot, "copied; also in")
        bar = pilot.app.screen.query_one(HintBar)
        toast = pilot.app.screen.query_one("Toast")
        log = pilot.app.screen.query_one(LogView).region
        assert toast.region.bottom == bar.region.bottom
        assert toast.region.y > log.y


async def test_a_message_replaces_the_one_that_it_outdates() -> None:
    source = red_source()
    source.may_answer.clear()
    async with showing(source, (80, 24), run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "effnet-launch start")
        await pilot.press("ctrl+s")
        await sees(pilot, "starts when plan and checks are done")
        source.may_answer.set()
        await sees(pilot, "not started: 2 checks failed")
        await until(pilot, lambda: "starts when" not in everything(pilot))


async def test_a_start_that_fails_says_so_in_the_place_of_the_plan() -> None:
    source = FakeSource()

    def refuse(*_: object) -> str:
        raise SourceError("node-b: the disk is full\nMake room there.")

    source.send = refuse  # type: ignore[method-assign]
    async with showing(source, run=None) as pilot:
        await opened(pilot)
        await sees(pilot, "ctrl+s: start", "effnet-launch start")
        await pilot.press("ctrl+s")
        await sees(pilot, "not started: node-b: the disk is full", "✓ data")
        await until(pilot, lambda: "starting" not in everything(pilot))


async def test_what_is_wrong_comes_before_what_is_general() -> None:
    error = SettingsError("the settings have 1 error", ("--set nope=1: unknown key",), "See docs.")
    assert str(error).splitlines() == [
        "the settings have 1 error", "  --set nope=1: unknown key", "See docs.",
    ]  # fmt: skip
    source = FakeSource()
    async with showing(source, run=None, profile="local-cpu") as pilot:
        await sees(pilot, "effnet-launch start")
        await pilot.press("slash", *"nope=1", "enter")
        await sees(pilot, "no plan: nope: no such key")


def test_the_run_directory_of_the_plan_is_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    started: list[tuple[StartRequest, tuple[str, ...]]] = []

    def start(profile: str, request: StartRequest, *, command: tuple[str, ...]) -> str:
        started.append((request, command))
        return request.name

    monkeypatch.setattr(client, "start", start)
    source = LiveSource()
    plan = dict(source.plan("local-cpu", StartRequest()))
    run = source.send("local-cpu", StartRequest())
    assert f"run directory {tmp_path}/runs/{run}" in plan["run"]
    assert "--name" not in started[0][1]
    # A second start of the same plan cannot have its directory.
    source.send("local-cpu", StartRequest())
    assert started[1][0].name == ""
