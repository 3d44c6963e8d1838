"""``--readonly``: no key of any screen changes anything, and no action is without its command."""

from __future__ import annotations

import pytest
from fake_source import RUN, FakeRun, FakeSource
from pilots import everything, sees, showing, until
from textual.pilot import Pilot
from textual.widgets import Input

from launcher.core.run.requests import (
    JobRequest,
    Request,
    ResumeRequest,
    StartRequest,
    StopRequest,
)
from tui.app import Dashboard
from tui.screens.home import HomeScreen
from tui.screens.new_run import NewRunScreen
from tui.screens.run import RunScreen
from tui.settings import Settings
from tui.sources.source import SourceError

LEAVING = {"q", "ctrl+q", "ctrl+c", "ctrl+z", "escape", "ctrl+p", "question_mark", "T"}


def keys_of(pilot: Pilot[str]) -> list[str]:
    """Every key that anything on this screen is bound to, whether or not it is offered now."""
    screen = pilot.app.screen
    nodes = [screen, *screen.query("*"), pilot.app]
    keys = {key for node in nodes for key in node._bindings.key_to_bindings}
    return sorted(keys - LEAVING)


def failing(state: str) -> FakeSource:
    run = FakeRun(4, nodes=2)
    if state == "failed":
        run.fail(2)
    return FakeSource(run)


@pytest.mark.parametrize("state", ["running", "failed"])
async def test_no_key_of_the_run_screen_changes_anything(state: str) -> None:
    source = failing(state)
    async with showing(source, (120, 36), readonly=True) as pilot:
        await sees(pilot, state.upper())
        keys = keys_of(pilot)
        assert {"r", "s", "e", "x", "y", "enter"} <= set(keys)
        for key in keys:
            await pilot.press(key)
            assert isinstance(pilot.app.screen, RunScreen), key
        await pilot.pause(0.2)
        assert source.sent == []
        offered = everything(pilot).splitlines()[-1]
        assert not [word for word in ("Stop", "Resume", "Eval", "Export") if word in offered]
        names = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert not names & {"Stop", "Resume", "Eval", "Export"}


async def test_no_key_of_home_starts_anything() -> None:
    source = FakeSource()
    async with showing(source, (120, 36), run=None, readonly=True) as pilot:
        await sees(pilot, "2 runs")
        for key in keys_of(pilot):
            if key != "enter":  # opens what is under the cursor
                await pilot.press(key)
        assert isinstance(pilot.app.screen, HomeScreen)
        assert source.sent == []


async def test_a_plan_can_be_read_but_not_started() -> None:
    source = FakeSource()
    async with showing(source, (120, 36), run=None, profile="local-cpu", readonly=True) as pilot:
        await sees(pilot, "new run from local-cpu", "python -m effnet")
        for key in keys_of(pilot):
            await pilot.press(key)
        await pilot.press("ctrl+s")
        await sees(pilot, "nothing can be changed")
        assert isinstance(pilot.app.screen, NewRunScreen)
        assert source.sent == []


async def test_an_action_called_directly_changes_nothing() -> None:
    source = failing("running")
    async with showing(source, (120, 36), readonly=True) as pilot:
        await sees(pilot, "RUNNING")
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        screen.send(RUN, ResumeRequest(), "")
        await sees(pilot, "started with --readonly")
        assert source.sent == []


@pytest.mark.parametrize(
    "request_", [StartRequest(), StopRequest(), ResumeRequest(), JobRequest("eval")]
)
@pytest.mark.parametrize("again", ["", "effnet-tui --demo"])
def test_a_readonly_dashboard_sends_no_request(request_: Request, again: str) -> None:
    source = FakeSource()
    app = Dashboard(source, Settings(), readonly=True, again=again)
    with pytest.raises(SourceError, match="nothing can be changed"):
        app.send(RUN, request_)
    assert source.sent == []
    Dashboard(source, Settings()).send(RUN, request_)
    assert source.sent == [(RUN, request_)]


async def test_each_way_to_end_a_run_shows_its_own_command_and_copies_it() -> None:
    async with showing(FakeSource(), (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("s")
        await sees(pilot, f"$ effnet-launch stop {RUN}  ", f"$ effnet-launch stop {RUN} --no-save")
        await pilot.press("c")
        await until(pilot, lambda: pilot.app.clipboard == f"effnet-launch stop {RUN}")
        await sees(pilot, "copied; also in")
        await pilot.press("l", "l", "c")
        await until(pilot, lambda: pilot.app.clipboard == f"effnet-launch stop {RUN} --no-save")


@pytest.mark.parametrize(("key", "kind"), [("e", "eval"), ("x", "export")])
async def test_a_job_shows_its_command_and_copies_it(key: str, kind: str) -> None:
    async with showing(FakeSource(), (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press(key)
        await sees(pilot, f"$ effnet-launch {kind} {RUN}", "Copy (ctrl+y)")
        await pilot.press("ctrl+y")
        await until(pilot, lambda: pilot.app.clipboard.startswith(f"effnet-launch {kind} {RUN}"))


async def test_a_new_run_copies_its_command_from_any_field() -> None:
    async with showing(FakeSource(), (120, 36), run=None, profile="local-cpu") as pilot:
        await sees(pilot, "effnet-launch start local-cpu")
        await pilot.press("slash")
        assert isinstance(pilot.app.focused, Input)
        await pilot.press("ctrl+y")
        await until(pilot, lambda: pilot.app.clipboard == "effnet-launch start local-cpu")


async def test_a_resume_shows_its_command() -> None:
    async with showing(failing("failed"), (120, 36)) as pilot:
        await sees(pilot, f"$ effnet-launch resume {RUN}")
        await pilot.press("y")
        await until(pilot, lambda: pilot.app.clipboard == f"effnet-launch resume {RUN}")


async def test_the_stop_dialog_fits_the_smallest_terminal() -> None:
    async with showing(FakeSource(FakeRun(8, nodes=8)), (60, 16)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("s")
        await sees(pilot, "No (esc)", "Save and stop (y)", "Stop now ", "c copies the command")
