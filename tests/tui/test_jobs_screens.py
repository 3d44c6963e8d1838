"""Jobs from the dashboard: what can be chosen, how far they are, what they came to."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from fake_source import NOW, RUN, FakeRun, FakeSource
from made_run import MadeRun
from pilots import everything, sees, showing, until
from textual.widgets import Input, Select

from launcher.core.run import events
from tui.model.run import Evaluation, FrameRequest, Job
from tui.screens.job import JobScreen
from tui.screens.results import ResultsScreen, rows_of
from tui.screens.run import RunScreen
from tui.sources.live import LiveSource


async def test_infer_takes_a_file_and_a_folder() -> None:
    source = FakeSource()
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("i")
        await sees(pilot, "ONNX inference on a folder", "the newest that this run exported")
        await sees(pilot, "Start (ctrl+s)", "Leave (esc)")
        pilot.app.screen.query_one("#data_path", Input).value = "/photos"
        await sees(pilot, f"$ effnet-launch infer {RUN} --data_path", "/photos")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.asked))
        assert source.asked == [("infer", RUN, {"data_path": "/photos"})]


async def test_weights_size_and_node_can_be_chosen() -> None:
    source = FakeSource(FakeRun(4, nodes=2))
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("x")
        await sees(pilot, "moving average (EMA) where there is one", "Start (ctrl+s)")
        screen = pilot.app.screen
        assert isinstance(screen, JobScreen)
        screen.query_one("#weights", Select).value = "model"
        screen.query_one("#image_size", Input).value = "128"
        screen.query_one("#node", Select).value = "node-b"
        await sees(pilot, "--weights model", "--image_size 128", "--node node-b")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert source.asked == []


def test_the_real_commands_of_jobs() -> None:
    source = LiveSource()
    chosen = {"weights": "ema", "image_size": "128", "share_device": "yes"}
    assert source.command("export", "a", chosen) == (
        "effnet-launch export a --weights ema --image-size 128 --share-device"
    )
    assert source.command("infer", "a", {"data_path": "/p", "model": "m.onnx"}) == (
        "effnet-launch infer a --data /p --model m.onnx"
    )


def test_rows_of_results() -> None:
    view = FakeRun().view()
    assert [(row.step, row.best) for row in rows_of(view)] == [(90, False), (45, True)]
    twice = replace(
        view,
        evaluations=(
            *view.evaluations,
            Evaluation(1, 45, 1.9, 0.5, 0.9, 360, "model", NOW),
            Evaluation(0, 22, 1.9, 0.9, 0.9, 360, "ema", NOW),  # its file is gone
        ),
    )
    rows = rows_of(twice)
    assert [(row.step, row.best) for row in rows] == [
        (90, False), (45, False), (45, True), (22, False),
    ]  # fmt: skip
    assert rows[3].checkpoint is None


async def test_results_show_every_checkpoint_and_lead_to_its_job() -> None:
    source = FakeSource()
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(
            pilot, f"Results of {RUN}", "top-1", "0.5500", "0.9100", "1.700", "ema",
            "110 MiB", "/runs/x/step-90.ckpt", "e evaluate",
        )  # fmt: skip
        assert "*   1      45" in everything(pilot)
        await pilot.press("j")
        await sees(pilot, "/runs/x/step-45.ckpt")
        await pilot.press("y")
        await until(pilot, lambda: pilot.app.clipboard == "/runs/x/step-45.ckpt")
        await pilot.press("e")
        await sees(pilot, "Evaluate", "--checkpoint", "/runs/x/step-45.ckpt")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.asked))
        assert source.asked == [("eval", RUN, {"checkpoint": "/runs/x/step-45.ckpt"})]


async def test_results_follow_a_job_to_its_end() -> None:
    source = FakeSource()
    plain = source.run.view
    jobs: list[Job] = [Job("001-infer", "infer", "running", "", None, NOW + 95, None, 128, 360)]
    source.run.view = lambda: replace(plain(), jobs=tuple(jobs), worst="")  # type: ignore[method-assign]
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "001-infer 128/360 images, 5 s")
        jobs[:] = [
            Job("001-infer", "infer", "done", "top_1_acc 0.9333", 0, NOW, NOW,
                path="/runs/x/jobs/001-infer/predictions.csv")
        ]  # fmt: skip
        await sees(pilot, "001-infer done: top_1_acc 0.9333", "jobs/001-infer/predictions.csv")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_a_job_that_is_quicker_than_a_poll_is_told_too_but_none_of_before() -> None:
    source = FakeSource()
    plain = source.run.view
    jobs = [Job("001-eval", "eval", "done", "top_1_acc 0.9", 0, NOW, NOW)]
    source.run.view = lambda: replace(plain(), jobs=tuple(jobs))  # type: ignore[method-assign]
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING", "step")
        jobs.append(Job("002-export", "export", "done", "file b2.onnx", 0, NOW, NOW))
        await sees(pilot, "002-export done: file b2.onnx")
        jobs.append(Job("003-eval", "eval", "failed", "", 3, NOW, NOW))
        await sees(pilot, "003-eval failed: exit code 3")
        assert "001-eval" not in everything(pilot)


async def test_results_of_a_readonly_dashboard_start_nothing() -> None:
    source = FakeSource()
    async with showing(source, (100, 30), readonly=True) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "Results of")
        await pilot.press("e", "x", "i", "enter")
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, ResultsScreen)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_a_run_without_checkpoints_has_no_results_and_says_so() -> None:
    source = FakeSource()
    plain = source.run.view
    source.run.view = lambda: replace(plain(), checkpoints=(), evaluations=())  # type: ignore[method-assign]
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "No checkpoint was saved yet")


def test_a_running_job_says_how_far_it_is(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-1", time_s=time.time() - 60)
    made.start()
    made.steps(50)
    made.event(events.JobStarted(0, 0, "001-eval", "eval", None, ("python",)))
    files = made.paths.job("001-eval")
    files.root.mkdir(parents=True)
    files.log.write_text("note: something\nprogress: eval:[36/360]\nprogress: eval:[128/360]\n")
    run = LiveSource().open("made")
    view = run.frame(FrameRequest()).view
    assert (view.jobs[0].state, view.jobs[0].done, view.jobs[0].total) == ("running", 128, 360)
    assert view.note.startswith("001-eval 128/360 images")
    result = {"file": "/x/b0.onnx", "bytes": 16309634, "relative_difference": 5.81e-07}
    made.event(events.JobFinished(0, 0, "001-eval", 0, result))
    job = run.frame(FrameRequest()).view.jobs[0]
    assert (job.state, job.path) == ("done", "/x/b0.onnx")
    assert job.result == "file b0.onnx, 15.6 MiB, relative_difference 5.81e-07"


async def test_a_node_that_does_not_answer_is_grey_and_says_how_old_its_figures_are() -> None:
    run = FakeRun(4, nodes=2)
    plain = run.row
    run.row = lambda rank: (  # type: ignore[method-assign]
        replace(plain(rank), unreachable_since=NOW + 60, newest=NOW + 58)
        if rank > 1
        else plain(rank)
    )
    async with showing(FakeSource(run), (120, 36)) as pilot:
        await sees(pilot, "no answer", "42 s")
        table = pilot.app.screen.query_one("#ranks")
        muted = pilot.app.palette.muted  # type: ignore[attr-defined]
        strip = table._lines[4]  # type: ignore[attr-defined]
        loss = next(part for part in strip if part.text.strip().startswith("1.39"))
        assert loss.style == muted


def test_a_node_that_does_not_answer_is_named(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-1", ranks=4, nodes=2, time_s=time.time() - 60)
    made.start()
    made.steps(20)
    made.event(events.NodeUnreachable(0, 0, 1, "node-b", 4.0))
    view = LiveSource().open("made").frame(FrameRequest()).view
    assert view.worst.startswith("node node-b does not answer for ")
    assert view.worst_rank == 2
    assert [row.unreachable_since is not None for row in view.ranks] == [False, False, True, True]
