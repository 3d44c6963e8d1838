from __future__ import annotations

from dataclasses import replace

import pytest
from fake_source import NOW, RUN, FakeRun, FakeSource, ListLog, job
from pilots import everything, sees, showing, text_of, until

from launcher.client import RankSnapshot
from tui.drawing.wording import worst
from tui.model.run import FrameRequest
from tui.screens.home import HomeScreen
from tui.screens.run import RunScreen
from tui.widgets.chart import Chart
from tui.widgets.log_view import LogView
from tui.widgets.rank_table import RankTable


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48), (240, 60)])
async def test_state_worst_rank_and_keys_are_visible_at_every_size(size: tuple[int, int]) -> None:
    async with showing(FakeSource(FakeRun(8)), size) as pilot:
        await sees(pilot, "RUNNING", "rank 7", "24 % late", "s Stop", "? Help", "step 0.4 s ago")
        text = everything(pilot)
        assert len(text.splitlines()) <= size[1]
        assert all(len(line) <= size[0] for line in text.splitlines())


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (240, 60)])
@pytest.mark.parametrize("job_runs", [False, True])
async def test_a_fault_comes_before_everything_else(size: tuple[int, int], job_runs: bool) -> None:
    run = FakeRun(8, nodes=4)
    run.note = "a note that is long enough to take the space of something else"
    run.jobs = (job("001-export"),) if job_runs else ()
    faults = (
        (lambda: run.hang(0), "rank 0 · silent 12 s · compute", "its process is stopped"),
        (lambda: run.unreachable.update({"node-b": NOW}), "", "node node-b has not answered for"),
    )
    for happens, first, second in faults:
        happens()
        async with showing(FakeSource(run), size) as pilot:
            await sees(pilot, first, second)
            top = everything(pilot).splitlines()
            assert top[0].startswith(f" HUNG  {first}")
            assert second in top[1].split("epoch")[0]


async def test_a_hung_run_says_which_keys_help_and_takes_it_back() -> None:
    run = FakeRun(8)
    async with showing(FakeSource(run), (80, 24)) as pilot:
        await sees(pilot, "RUNNING")
        run.hang(3)
        await sees(pilot, "$ kill -CONT 4711 on node-a continues it", "s stop it; then r: resume")
        run.hangs = replace(run.hangs, why="")
        await sees(pilot, "d where all ranks are: their stacks")
        run.change(hangs=None, state="running")
        await sees(pilot, "RUNNING")
        words = "resume from the newest checkpoint"
        await until(pilot, lambda: words not in everything(pilot))


def test_no_steps_are_a_fault_and_no_figure_is_shown_for_them() -> None:
    run = FakeRun(2)
    stalled = replace(run.snapshot(), is_stalled=True, polled_s=NOW + 340)
    assert worst(replace(run.frame(), snapshot=stalled))[1] == "no step for 4 min"


async def test_every_rank_shows_its_values() -> None:
    async with showing(FakeSource(FakeRun(4, nodes=2)), (160, 48)) as pilot:
        await sees(pilot, "node-b", "10/45", "941 ms", "1.2 GiB")

        def ranks() -> list[str]:
            rows = [row.split() for row in text_of(pilot, "#ranks").splitlines()[1:]]
            return [words[0].lstrip("▶!") or words[1] for words in rows]

        await until(pilot, lambda: ranks() == list("0123"))


async def test_unknown_values_are_a_dash_never_zero() -> None:
    run = FakeRun(2)
    from dataclasses import replace

    plain = run.row
    run.row = lambda rank: replace(  # type: ignore[method-assign]
        plain(rank), loss=None, step_time_ms=None, memory_bytes=None, step_s=None, step=None,
        lateness_ms=None, epoch=None, wait_ms=None, images_per_s=None,
    )  # fmt: skip
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "compute")
        row = text_of(pilot, "#ranks").splitlines()[1]
        assert row.split().count("–") >= 6
        assert " 0 " not in row.replace("▶    0 ", "")


async def test_the_header_of_a_script_shows_only_what_the_script_tells() -> None:
    run = FakeRun(2)
    run.runs_script = True
    plain = run.snapshot
    run.snapshot = lambda: replace(  # type: ignore[method-assign]
        plain(), epochs=None, steps_per_epoch=None, steps_total=None, progress=None,
        eta_s=None, images_per_s=None,
    )  # fmt: skip
    async with showing(FakeSource(run), (80, 24)) as pilot:
        await sees(pilot, "step 100 ")
        head = text_of(pilot, "#header")
        assert "ETA" not in head
        assert "images/s" not in head


async def test_why_a_run_is_pending_is_not_cut_for_figures() -> None:
    run = FakeRun(2, "pending")
    words = "job 2 waits in the queue: Resources, estimated start in 3 h"
    plain = run.snapshot
    run.snapshot = lambda: replace(plain(), queue_words=words)  # type: ignore[method-assign]
    async with showing(FakeSource(run), (80, 24)) as pilot:
        await sees(pilot, "PENDING", words)
        assert "ETA" not in text_of(pilot, "#header")


async def test_the_card_of_a_stopped_run_says_who_stopped_it() -> None:
    run = FakeRun(2, "stopped")
    plain = run.snapshot
    run.snapshot = lambda: replace(  # type: ignore[method-assign]
        plain(), state=replace(plain().state, stop_by="ada@login (effnet-launch)")
    )
    async with showing(FakeSource(run), (80, 24)) as pilot:
        await sees(pilot, "stopped by ada@login (effnet-launch)")


async def test_only_changed_lines_are_painted() -> None:
    run = FakeRun(8)
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "following")
        table = pilot.app.screen.query_one(RankTable)
        plain = run.row
        frames = 0

        def counted(rank: int) -> RankSnapshot:
            nonlocal frames
            frames += rank == 0
            return plain(rank)

        run.row = counted  # type: ignore[method-assign]
        await until(pilot, lambda: frames > 5)  # what was drawn first is painted
        before = table.lines_painted
        from dataclasses import replace

        run.row = lambda rank: (  # type: ignore[method-assign]
            replace(plain(rank), step_time_ms=1234.0) if rank == 3 else plain(rank)
        )
        await sees(pilot, "1234 ms")
        assert table.lines_painted - before == 1


async def test_the_log_follows_the_cursor() -> None:
    async with showing(FakeSource(FakeRun(4))) as pilot:
        await sees(pilot, "log rank 0")
        await pilot.press("j", "j")
        await sees(pilot, "log rank 2")
        await pilot.press("G")
        await sees(pilot, "log rank 3")


async def test_control_characters_and_markup_are_text() -> None:
    async with showing(FakeSource(), (160, 48)) as pilot:
        await sees(pilot, "[bold]not markup[/bold] red · bell")
        assert "\x1b" not in everything(pilot)
        assert "\x07" not in everything(pilot)


async def test_search_jumps_and_reports_when_there_are_no_more_matches() -> None:
    async with showing(FakeSource(), (160, 48)) as pilot:
        await sees(pilot, "following")
        pilot.app.screen.query_one(LogView).focus()
        await pilot.press("slash", *"traceback", "enter")
        await sees(pilot, "held", "▶  33 Traceback (most recent call last):")
        await pilot.press("n")
        await sees(pilot, "no later match")
        await pilot.press("G")
        await sees(pilot, "following")


async def test_errors_levels_and_filter() -> None:
    async with showing(FakeSource(), (160, 48)) as pilot:
        await sees(pilot, "following")
        pilot.app.screen.query_one(LogView).focus()
        await pilot.press("e")
        await sees(pilot, "▶  33 Traceback")
        await pilot.press("v")
        await sees(pilot, "warnings and errors", "WARNING: a step took long")
        await pilot.press("v")
        await sees(pilot, "errors only")
        assert "WARNING" not in text_of(pilot, "#log")
        await pilot.press("v", "f", *"step:. +7/", "enter")
        await sees(pilot, "filter step:. +7/")
        shown = text_of(pilot, "#log").splitlines()[1:]
        assert len(shown) == 3
        assert all("step:[    7/" in line for line in shown)


async def test_a_held_log_does_not_move_when_lines_arrive() -> None:
    run = FakeRun()
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "following")
        log = pilot.app.screen.query_one(LogView)
        log.focus()
        await until(pilot, lambda: len(log.frame.lines) == log.rows_wanted)
        first = log.frame.lines[0][0]
        await pilot.press("up", "up")
        await until(pilot, lambda: log.frame.lines[0][0] == first - 2)
        await sees(pilot, "held")
        before = log.frame.lines
        run.logs[0].all.extend(["more"] * 50)
        await until(pilot, lambda: log.frame.total == 175)
        assert log.frame.lines == before


async def test_long_lines_are_cut_and_can_be_scrolled() -> None:
    async with showing(FakeSource(), (80, 24)) as pilot:
        await sees(pilot, "xxx…")
        pilot.app.screen.query_one(LogView).focus()
        await pilot.press("right")
        await sees(pilot, " ld] red · bell")


async def test_panels_toggle_and_zoom() -> None:
    async with showing(FakeSource(FakeRun(4)), (100, 40)) as pilot:
        await sees(pilot, "loss", "log rank 0", "who is late")
        await pilot.press("2")
        await until(pilot, lambda: not any(chart.region for chart in pilot.app.screen.query(Chart)))
        await pilot.press("3")
        await until(pilot, lambda: "who is late" not in everything(pilot))
        await pilot.press("0", "z")
        await until(pilot, lambda: pilot.app.screen.query_one("#ranks").size.height == 37)
        await pilot.press("escape")
        await sees(pilot, "log rank 0", "loss")


async def test_charts_change_field_scale_and_smoothing() -> None:
    run = FakeRun(2)
    async with showing(FakeSource(run)) as pilot:
        await sees(pilot, "loss")
        await pilot.press("c")
        await sees(pilot, "step time  r0", "r1")
        await pilot.press("l")
        await sees(pilot, "step time log")
        await pilot.press("m")
        await until(pilot, lambda: run.requests[-1].charts[0].smoothing == 0.6)
        await pilot.press("C")
        await until(pilot, lambda: run.requests[-1].charts[0].field == "loss")


async def test_only_shown_panels_are_computed() -> None:
    run = FakeRun(2)
    async with showing(FakeSource(run)) as pilot:
        await until(pilot, lambda: bool(run.requests) and bool(run.requests[-1].charts))
        await pilot.press("2")
        await until(pilot, lambda: run.requests[-1] == FrameRequest((), 0))


async def test_pause_stops_only_the_display() -> None:
    run = FakeRun()
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "step 10/45")
        await pilot.press("p")
        await sees(pilot, "display paused")
        run.step += 5
        asked = len(run.requests)
        await until(pilot, lambda: len(run.requests) > asked + 2)
        assert "step 10/45" in everything(pilot)
        await pilot.press("p")
        await sees(pilot, "step 15/45")


async def test_a_failed_source_is_reported_and_the_picture_stays() -> None:
    run = FakeRun()
    async with showing(FakeSource(run), (120, 36)) as pilot:
        await sees(pilot, "RUNNING")
        run.problem = "disk is gone"
        await sees(pilot, "disk is gone", "RUNNING", "941 ms")
        run.problem = ""
        await until(pilot, lambda: "disk is gone" not in everything(pilot))


async def test_a_missing_run_is_reported_on_the_home_screen() -> None:
    async with showing(FakeSource(), run="nothing") as pilot:
        await sees(pilot, "there is no run nothing")
        await until(pilot, lambda: isinstance(pilot.app.screen, HomeScreen))


async def test_escape_opens_home_and_enter_returns() -> None:
    async with showing(FakeSource()) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("escape")
        await sees(pilot, "2 runs, 1 live")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_quitting_prints_how_to_attach_again() -> None:
    source = FakeSource()
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.press("q")
    assert f"effnet-tui {RUN}" in str(pilot.app.return_value)
    assert "continues" in str(pilot.app.return_value)
    assert source.sent == []


async def test_a_terminal_that_is_too_small_is_reported_and_recovers() -> None:
    async with showing(FakeSource()) as pilot:
        await sees(pilot, "RUNNING")
        await pilot.resize_terminal(40, 10)
        await sees(pilot, "40 × 10 is too small")
        await pilot.resize_terminal(80, 24)
        await sees(pilot, "RUNNING", "log rank 0")


async def test_sixty_four_ranks_scroll_with_the_cursor() -> None:
    async with showing(FakeSource(FakeRun(64, nodes=8))) as pilot:
        await sees(pilot, "!   63")
        await pilot.press("G")
        await sees(pilot, "▶   63")
        await pilot.press("g", "w")
        await sees(pilot, "▶   63")


async def test_a_hidden_log_is_not_read_and_catches_up_when_shown() -> None:
    run = FakeRun(2)
    looks = 0

    class Watched(ListLog):
        def refresh(self) -> int:
            nonlocal looks
            looks += 1
            return super().refresh()

    log = Watched(["line 0"])
    run.logs[0] = log
    async with showing(FakeSource(run), (160, 48)) as pilot:
        await sees(pilot, "RUNNING", "line 0")
        await pilot.press("4")
        await until(pilot, lambda: "line 0" not in everything(pilot))
        await pilot.pause(0.5)  # a look that was under way
        before = looks
        log.all.append("line 1")
        await pilot.pause(1.5)
        assert looks <= before + 1  # one that began late; a log that is shown has ten a second
        await pilot.press("4")
        await sees(pilot, "line 1")
