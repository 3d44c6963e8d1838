"""Jobs from the dashboard: what can be chosen, how far they are, what they came to."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from fake_source import NOW, RUN, FakeRun, FakeSource, evaluation, job
from made_run import MadeRun
from pilots import everything, sees, showing, until
from textual.widgets import Input, Select

from launcher.core.run import events
from launcher.core.run.requests import JobRequest
from tui.drawing.wording import activity, is_job_bad, job_words, worst
from tui.model.derived import job_path, job_state
from tui.model.run import FrameRequest
from tui.screens.request import RequestScreen
from tui.screens.results import ResultsScreen, rows_of
from tui.screens.run import RunScreen
from tui.sources.live import LiveSource


async def test_infer_has_a_file_and_a_folder() -> None:
    source = FakeSource()
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("i")
        await sees(pilot, "ONNX inference on a folder", "default: the newest in RUN/export")
        await sees(pilot, "Start (ctrl+s)", "Cancel (esc)")
        pilot.app.screen.query_one("#data_path", Input).value = "/photos"
        await sees(pilot, f"$ effnet-launch infer {RUN} --data", "/photos")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [(RUN, JobRequest("infer", data_path="/photos"))]


async def test_weights_size_and_node_can_be_chosen() -> None:
    source = FakeSource(FakeRun(4, nodes=2))
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("x")
        await sees(pilot, "moving average (EMA) if there is one", "Start (ctrl+s)")
        screen = pilot.app.screen
        assert isinstance(screen, RequestScreen)
        screen.query_one("#weights", Select).value = "model"
        screen.query_one("#image_size", Input).value = "128"
        screen.query_one("#node", Select).value = "node-b"
        await sees(pilot, "--weights", "model --image-size 128", "--node node-b")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert source.sent == []


def test_rows_of_results() -> None:
    run = FakeRun()
    assert [(row.step, row.best) for row in rows_of(run.frame())] == [(90, False), (45, True)]
    of_removed_file = evaluation(0, 22, 0.9)
    run.evals = (*run.evals, evaluation(1, 45, 0.5, "model"), of_removed_file)
    rows = rows_of(run.frame())
    assert [(row.step, row.best) for row in rows] == [
        (90, False), (45, False), (45, True), (22, False),
    ]  # fmt: skip
    assert rows[3].checkpoint is None


async def test_results_show_every_checkpoint_and_open_its_job() -> None:
    source = FakeSource()
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(
            pilot, f"Results of {RUN}", "top-1", "55.00 %", "91.00 %", "1.700", "ema",
            "110 MiB", "/runs/x/step-90.ckpt", "e evaluate",
        )  # fmt: skip
        await sees(pilot, "*   1      45")
        await pilot.press("j")
        await sees(pilot, "/runs/x/step-45.ckpt")
        await pilot.press("y")
        await until(pilot, lambda: pilot.app.clipboard == "/runs/x/step-45.ckpt")
        await pilot.press("e")
        await sees(pilot, "Evaluate", "--checkpoint", "/runs/x/step-45.ckpt")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(source.sent))
        assert source.sent == [(RUN, JobRequest("eval", checkpoint="/runs/x/step-45.ckpt"))]


async def test_results_follow_a_job_to_its_end() -> None:
    source = FakeSource()
    source.run.jobs = (job("001-infer", started_s=NOW + 95),)
    source.run.progress = {"001-infer": (128, 360)}
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "infer 001: running, 128/360 images, 5 s")
        path = "/runs/x/jobs/001-infer/predictions.csv"
        source.run.jobs = (job("001-infer", 0, top_1_acc=0.9333, predictions=path),)
        await sees(pilot, "infer 001: done, top_1_acc 0.933", path)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_an_export_has_a_verdict_with_its_limit() -> None:
    source = FakeSource()
    figures = {"max_abs_difference": 715.2, "relative_difference_limit": 1e-4}
    exports = (
        job("001-export", 0, file="/x/a.onnx", relative_difference=2e-6, **figures),
        job("002-export", 0, file="/x/b.onnx", relative_difference=0.31, **figures),
        job("003-export", 0, file="/x/c.air", relative_difference=None),
    )
    source.run.jobs = exports
    async with showing(source, (160, 30)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        good = "done, logits equal the network's: by 2.0e-6 of the largest, limit 1.0e-4"
        bad = "done, LOGITS DIFFER from the network's: by 0.31 of the largest, limit 1.0e-4"
        await sees(pilot, f"export 001: {good}", f"export 002: {bad}", "export 003: done")
        assert "715" not in everything(pilot)
    assert [is_job_bad(job) for job in exports] == [False, True, False]


async def test_a_job_quicker_than_a_poll_is_shown_but_no_earlier_job() -> None:
    source = FakeSource()
    source.run.jobs = (job("001-eval", 0, top_1_acc=0.9),)
    async with showing(source, (100, 30)) as pilot:
        await sees(pilot, "RUNNING", "step")
        source.run.jobs += (job("002-export", 0, file="/x/b2.onnx"),)
        await sees(pilot, "export 002: done, file b2.onnx")
        source.run.jobs += (job("003-eval", 3),)
        await sees(pilot, "eval 003: failed, exit code 3")
        assert "eval 001" not in everything(pilot)


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


async def test_a_run_without_checkpoints_shows_that_it_has_no_results() -> None:
    source = FakeSource()
    source.run.checkpoints, source.run.evals = (), ()
    async with showing(source, (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("t")
        await sees(pilot, "No checkpoint was saved yet")


def test_a_running_job_shows_its_progress(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-1", time_s=time.time() - 60)
    made.start()
    made.steps(50)
    made.event(events.JobStarted("001-eval", "eval", None, ("python",)))
    files = made.paths.job("001-eval")
    files.root.mkdir(parents=True)
    files.log.write_text("note: something\nprogress: eval:[36/360]\nprogress: eval:[128/360]\n")
    run = LiveSource(read_only=True).open("made")
    frame = run.frame(FrameRequest())
    assert job_state(frame.snapshot.state.jobs[0]) == "running"
    assert activity(frame).startswith("eval 001: running, 128/360 images")
    result = {"file": "/x/b0.onnx", "bytes": 16309634, "relative_difference": 5.81e-07}
    made.event(events.JobFinished("001-eval", 0, result))
    frame = run.frame(FrameRequest())
    (done,) = frame.snapshot.state.jobs
    assert job_path(done) == "/x/b0.onnx"
    words = "file b0.onnx, 15.6 MiB, relative_difference 5.81e-7"
    assert job_words(done, frame) == f"eval 001: done, {words}"


def test_a_job_that_waits_for_slurm_shows_why(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-1", time_s=time.time() - 60)
    made.start()
    made.steps(50)
    made.event(events.JobQueued("001-eval", "eval", "12", "job 12 waits in the queue"))
    run = LiveSource(read_only=True).open("made")
    frame = run.frame(FrameRequest())
    assert job_state(frame.snapshot.state.jobs[0]) == "waiting"
    assert activity(frame).startswith("eval 001: job 12 waits in the queue, ")
    made.event(events.JobStarted("001-eval", "eval", "n3"))
    assert activity(run.frame(FrameRequest())).startswith("eval 001: running")


async def test_rows_of_an_unreachable_node_are_grey_with_their_age() -> None:
    run = FakeRun(4, nodes=2)
    plain = run.row
    run.row = lambda rank: (  # type: ignore[method-assign]
        replace(plain(rank), step_s=NOW + 58) if rank > 1 else plain(rank)
    )
    run.unreachable = {"node-b": NOW + 60}
    async with showing(FakeSource(run), (120, 36)) as pilot:
        await sees(pilot, "no answer", "42 s")
        table = pilot.app.screen.query_one("#ranks")
        muted = pilot.app.palette.muted  # type: ignore[attr-defined]
        strip = table._lines[4]  # type: ignore[attr-defined]
        loss = next(part for part in strip if part.text.strip().startswith("1.39"))
        assert loss.style == muted


def test_an_unreachable_node_is_named(own_folders: Path) -> None:
    made = MadeRun(own_folders / "runs", "made-1", ranks=4, nodes=2, time_s=time.time() - 60)
    made.start()
    made.steps(20)
    made.event(events.NodeUnreachable(1, "node-b", 4.0))
    frame = LiveSource(read_only=True).open("made").frame(FrameRequest())
    rank, words = worst(frame)
    assert words.startswith("node node-b has not answered for ")
    assert rank == 2
    assert list(frame.snapshot.unreachable) == ["node-b"]
