from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fake_source import NOW, RUN, FakeRun, FakeSource, empty, job
from pilots import everything, sees, showing, until
from textual.widgets import Input, Select

from launcher.client import ResumeChoice
from launcher.core.run.events import KeptProcess
from launcher.core.run.nodes import KeptState
from launcher.core.run.requests import (
    JobRequest,
    NoteRequest,
    ResumeRequest,
    StartRequest,
    StopRequest,
)
from launcher.core.run.state import Silence
from tui.screens.help import HelpScreen
from tui.screens.request import RequestScreen
from tui.screens.run import RunScreen
from tui.sources.messages import RestartChosen


def failed(ranks: int = 4) -> FakeSource:
    run = FakeRun(ranks, nodes=2)
    run.fail(2)
    return FakeSource(run)


async def test_the_card_shows_the_cause_and_r_resumes() -> None:
    source = failed()
    async with showing(source) as pilot:
        await sees(
            pilot, "FAILED", "rank 2 on node-b failed first: SIGKILL (oom)",
            "the node ran out of memory", "ranks 0, 1, 3 stopped because of it",
            "MemoryError: 3 GiB",
            "resume from step 90 (2 epochs done), verified, 11 steps lost", "effnet-launch resume",
            "r Resume",
        )  # fmt: skip
        await pilot.press("r")
        await sees(pilot, f"Resume {RUN}", "11 steps lost", f"$ effnet-launch resume {RUN}")
        await pilot.press("enter")
        await sees(pilot, "RUNNING", "attempt 2 from step 90")
        assert source.sent == [(RUN, ResumeRequest())]


@pytest.mark.parametrize("size", [(80, 24), (120, 48)])
async def test_the_card_says_what_waits_for_a_resume_and_s_ends_it(size: tuple[int, int]) -> None:
    source = failed()
    processes = (KeptProcess("node-a", 4711), KeptProcess("node-b", 4712))
    source.run.kept = KeptState(1, processes, NOW + 3600)
    end = time.strftime("%H:%M", time.localtime(NOW + 3600))
    words = f"2 processes on 2 nodes wait until {end} for the next attempt; s ends them"
    async with showing(source, size) as pilot:
        await sees(pilot, "r resume from step 90", words, f"$ effnet-launch resume {RUN}")
        await pilot.press("s")
        await sees(pilot, "ending 2 processes on 2 nodes")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [(RUN, StopRequest())]


async def test_enter_opens_the_line_of_the_failure() -> None:
    async with showing(failed(), (120, 48)) as pilot:
        await sees(pilot, "log rank 2")
        await pilot.press("enter")
        await sees(pilot, "▶  33 Traceback (most recent call last):")


async def test_a_resume_can_change_data_and_keys_at_80_by_24() -> None:
    source = failed()
    async with showing(source) as pilot:
        await sees(pilot, "r Resume")
        await pilot.press("r")
        await sees(pilot, "checkpoint", "set", "data", "ignore", "Resume (ctrl+s)")
        screen = pilot.app.screen
        screen.query_one("#checkpoint", Select).value = "/runs/x/step-45.ckpt"
        screen.query_one("#data_path", Input).value = "/data/new"
        screen.query_one("#settings", Input).value = "lr"
        await sees(pilot, "'lr' is not key=value")
        await pilot.press("ctrl+s")
        assert source.sent == []
        screen.query_one("#settings", Input).value = "lr=0.1 batch_size=8"
        await sees(pilot, "--set lr=0.1 --set batch_size=8 --data")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        settings = (("lr", "0.1"), ("batch_size", "8"))
        request = ResumeRequest("/runs/x/step-45.ckpt", settings=settings, data_path="/data/new")
        assert source.sent == [(RUN, request)]


async def test_a_checkpoint_that_is_found_while_the_form_opens_is_shown() -> None:
    source = failed()
    async with showing(source) as pilot:
        await sees(pilot, "r Resume", "11 steps lost")
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        screen.restart = None
        screen.look_for_restart = lambda: None  # type: ignore[method-assign]
        screen.action_resume()
        screen.on_restart_chosen(RestartChosen(source.run.restart_answer))
        form = pilot.app.screen
        assert isinstance(form, RequestScreen)
        await until(pilot, lambda: bool(form.query("#about")))
        await until(pilot, lambda: "11 steps lost" in str(form.query_one("#about").render()))


async def test_the_note_is_shown_and_edited_at_80_by_24() -> None:
    source = FakeSource()
    source.run.note = "warm-up"
    source.view = replace(source.view, runs=(replace(source.view.runs[0], note="warm-up"),))
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING", "warm-up")
        await pilot.press("b")
        await sees(pilot, f"Note of {RUN}", f"$ effnet-launch note {RUN} warm-up")
        pilot.app.screen.query_one("#note", Input).value = "lr 0.1"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        await sees(pilot, "RUNNING", "lr 0.1")
        assert source.sent == [(RUN, NoteRequest("lr 0.1"))]
        await pilot.press("escape")
        await sees(pilot, "1 run, 1 live", "warm-up")


async def test_a_resume_without_a_checkpoint_shows_why() -> None:
    source = failed()
    source.run.restart_answer = ResumeChoice(None, "no checkpoint is whole")
    async with showing(source) as pilot:
        await sees(pilot, "cannot resume: no checkpoint is whole")


async def test_a_live_run_cannot_be_resumed() -> None:
    source = FakeSource()
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("r")
        await pilot.pause(0.2)
        assert source.sent == []


async def test_stop_asks_first_and_names_run_nodes_and_ranks() -> None:
    source = FakeSource(FakeRun(4, nodes=2))
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("s")
        await sees(
            pilot, f"Stop run {RUN}?", "4 ranks on 2 nodes: node-a, node-b",
            f"$ effnet-launch stop {RUN}", "Save and stop",
        )  # fmt: skip
        await pilot.press("escape")
        await pilot.pause(0.2)
        assert source.sent == []
        await pilot.press("s")
        await sees(pilot, "Stop run")
        await pilot.press("y")
        await sees(pilot, "STOPPING")
        assert source.sent == [(RUN, StopRequest())]


async def test_enter_on_the_stop_dialog_does_nothing_dangerous() -> None:
    source = FakeSource()
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("s")
        await sees(pilot, "Stop run")
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert source.sent == []


async def test_eval_shows_command_and_results_and_starts() -> None:
    source = FakeSource()
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("e")
        await sees(pilot, "Evaluate", f"$ effnet-launch eval {RUN}", "55.00 %", "top-1")
        screen = pilot.app.screen
        assert isinstance(screen, RequestScreen)
        screen.query_one("#data_path", Input).value = "/data/val"
        await sees(pilot, "--data /data/val")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [(RUN, JobRequest("eval", data_path="/data/val"))]


async def test_export_has_a_checkpoint_and_a_format() -> None:
    source = FakeSource()
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("x")
        await sees(pilot, "Export", "format", "ONNX")
        screen = pilot.app.screen
        screen.query_one("#file_format", Select).value = "MINDIR"
        screen.query_one("#checkpoint", Select).value = "/runs/x/step-45.ckpt"
        await sees(pilot, "--format MINDIR")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        wanted = JobRequest("export", checkpoint="/runs/x/step-45.ckpt", file_format="MINDIR")
        assert source.sent == [(RUN, wanted)]


async def test_readonly_offers_nothing_that_changes_anything() -> None:
    source = failed()
    async with showing(source, readonly=True) as pilot:
        await sees(pilot, "FAILED")
        assert "Resume" not in everything(pilot).splitlines()[-1]
        await pilot.press("r", "s", "e", "x")
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, RunScreen)
        assert source.sent == []


async def test_home_lists_runs_and_profiles() -> None:
    async with showing(FakeSource(), run=None) as pilot:
        await sees(
            pilot, "2 runs, 1 live", "● running", "○ failed", "local-cpu", "two ranks",
            "cannot be used: nodes.0.host", "n New run",
        )  # fmt: skip


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)], ids=str)
async def test_home_marks_a_run_whose_supervisor_does_not_answer(size: tuple[int, int]) -> None:
    source = FakeSource()
    silent = replace(source.view.runs[0], supervisor_silent=Silence(12, NOW - 8))
    source.view = replace(source.view, runs=(silent, *source.view.runs[1:]))
    async with showing(source, size, run=None) as pilot:
        await sees(pilot, "2 runs, 1 live", "● running", "supervisor (process 12) does not")


async def test_an_empty_home_shows_what_to_do() -> None:
    async with showing(empty(), run=None) as pilot:
        await sees(pilot, "No runs yet.", "shows its plan before it starts")


async def test_a_new_run_shows_its_plan_accepts_changes_and_starts() -> None:
    source = FakeSource()
    async with showing(source, (120, 36), run=None) as pilot:
        await sees(pilot, "2 runs")
        await pilot.press("n")
        await sees(pilot, "new run from local-cpu", "python -m effnet", "hostfile", "rank 0")
        await pilot.press("slash", *"batch_size=8", "enter")
        await sees(pilot, "effnet-launch start local-cpu --set batch_size=8")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert source.sent == [("local-cpu", StartRequest((("batch_size", "8"),)))]


async def test_a_plan_that_fails_shows_why_and_starts_nothing() -> None:
    source = FakeSource()
    async with showing(source, (120, 36), run=None) as pilot:
        await sees(pilot, "2 runs")
        await pilot.press("n")
        await sees(pilot, "new run")
        await pilot.press("slash", *"nope=1", "enter")
        await sees(pilot, "nope: no such key; batch_size?")
        await pilot.press("ctrl+s")
        await pilot.pause(0.2)
        assert source.sent == []


async def test_help_lists_the_keys_that_work_now() -> None:
    async with showing(FakeSource(), (100, 40)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("question_mark")
        await sees(pilot, "Keys", "Act", "Stop", "Find", "Worst rank", "Move")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape")
        await sees(pilot, "RUNNING")


async def test_the_palette_has_every_action() -> None:
    async with showing(FakeSource(), (100, 40)) as pilot:
        await sees(pilot, "RUNNING")
        names = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Stop", "Eval", "Export", "Zoom panel", "Log scale", "Help", "Quit"} <= names


async def test_copy_writes_a_file_too() -> None:
    async with showing(FakeSource(), (100, 40)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("y")
        await sees(pilot, "copied; also in")
        assert pilot.app.clipboard == f"effnet-launch status {RUN}"


async def test_a_job_that_ends_shows_its_result() -> None:
    source = FakeSource()
    source.run.late, source.run.jobs = None, (job("001-eval", started_s=NOW + 95),)
    async with showing(source, (120, 36)) as pilot:
        await sees(pilot, "eval 001: running, 5 s")
        source.run.jobs = (job("001-eval", 0, top_1_acc=0.9333),)
        await sees(pilot, "eval 001: done, top_1_acc 0.933")


async def test_keys_can_be_changed_in_the_settings() -> None:
    from tui.app import Dashboard
    from tui.settings import Settings

    app = Dashboard(FakeSource(), Settings(keymap={"run.stop": "S"}), run=RUN)
    async with app.run_test(size=(80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("s")
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("S")
        await sees(pilot, "Stop run")


async def test_themes_change_with_one_key_and_are_kept() -> None:
    from tui.settings import load, settings_path

    async with showing(FakeSource(), theme="dark") as pilot:
        await sees(pilot, "RUNNING")
        for name in ("light", "ansi", "mono", "dark"):
            await pilot.press("T")
            await sees(pilot, f"theme {name}")
            assert load(settings_path())[0].theme == name
