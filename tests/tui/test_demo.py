"""The recorded run of ``--demo``: complete, small, no personal data, and it plays to its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pilots import everything, sees
from terminal import terminal
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app
from launcher.core.run.metrics import unpack as records_in
from tui.app import Dashboard
from tui.model.run import FrameRequest
from tui.settings import Settings
from tui.sources.recording import DemoSource, unpack

ROOT = Path(__file__).parents[2]


def test_recording_is_small_and_names_nothing_of_the_machine(tmp_path: Path) -> None:
    assert (ROOT / "tui" / "demo" / "run.tar.gz").stat().st_size < 1_000_000
    run = unpack(tmp_path)
    texts = [path for path in run.rglob("*") if path.suffix in (".json", ".jsonl", ".toml", ".txt")]
    assert len(texts) == 4 + 2 * 8
    text = b"\n".join(path.read_bytes() for path in texts)
    paths = set(re.findall(rb"(?<![\w.])/[a-z][\w.-]*", text))
    assert paths <= {b"/runs", b"/data", b"/usr"}


def test_recording_is_complete_and_its_offsets_are_right(tmp_path: Path) -> None:
    run = unpack(tmp_path)
    snapshot = client.open_run(str(run)).poll()
    assert (snapshot.status.value, snapshot.world_size, snapshot.attempt) == ("finished", 8, 2)
    for metrics in run.rglob("metrics.bin"):
        log = metrics.with_name("log.txt").read_bytes()
        for record in records_in(metrics.read_bytes()):
            assert record.log_offset is not None
            assert log[record.log_offset :].startswith(b"epoch: [")


def test_recording_has_a_failure_a_resume_and_an_end(tmp_path: Path) -> None:
    source = DemoSource(speed=5)
    clock = [100.0]
    try:
        run = source.open(str(source.run))
        run.clock.wall = lambda: clock[0]
        run.clock._since = clock[0]
        seen: list[str] = []
        steps: list[int] = []
        pauses = 0
        while not run.clock.badge.startswith("replay at its end"):
            if not run.clock.playing:
                pauses += 1
                assert run.frame(FrameRequest()).snapshot.status.value == "failed"
                assert run.clock.badge.startswith("paused: press p to continue")
                run.clock.pause()
            snapshot = run.frame(FrameRequest()).snapshot
            steps.append(snapshot.steps_done or 0)
            if not seen or seen[-1] != snapshot.status.value:
                seen.append(snapshot.status.value)
                if seen[-1] == "failed":
                    assert snapshot.failure is not None
                    assert snapshot.failure.rank == 5
                    assert run.restart().step == 50
            clock[0] += 0.2
        lasting = len(steps) * 0.2
    finally:
        source.close()
    assert pauses == 1
    assert [s for s in seen if s in ("running", "failed", "finished")] == [
        "running", "failed", "running", "finished",
    ]  # fmt: skip
    assert 20 < lasting < 60
    # Alive: at the default speed something new comes at least every few seconds.
    still = max(len(match[0]) for match in re.finditer(r"(.)\1*", "".join(map(chr, steps))))
    assert still * 0.2 < 12


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_demo_pauses_at_the_failure_and_ends_with_a_summary(
    size: tuple[int, int],
) -> None:
    source = DemoSource(speed=2000)
    try:
        shown = Dashboard(
            source, Settings(), run=str(source.run), readonly=True, again="effnet-tui --demo"
        )
        async with shown.run_test(size=size) as pilot:
            await sees(pilot, "FAILED", "paused: press p to continue", "rank 5 on 127.0.0.1 failed")
            await pilot.press("p")
            await sees(
                pilot, "FINISHED", "replay at its end", "finished after", "in 2 attempts",
                "best top-1", "effnet-tui --demo plays it again",
            )  # fmt: skip
    finally:
        source.close()


async def test_demo_home_lists_only_its_run_and_is_readonly() -> None:
    source = DemoSource(speed=1)
    try:
        shown = Dashboard(
            source, Settings(), run=str(source.run), readonly=True, again="effnet-tui --demo"
        )
        async with shown.run_test(size=(100, 30)) as pilot:
            await sees(pilot, "local-cpu-8p-demo", "replay 1x")
            await pilot.press("escape")
            await sees(pilot, "1 run")
            assert "Stop" not in everything(pilot)
    finally:
        source.close()


def test_demo_command_ends_with_how_to_play_it_again() -> None:
    with terminal("--demo", "--speed", "2", columns=100, rows=30) as shown:
        shown.sees("local-cpu-8p-demo", "replay 2x")
        # It plays on, and pauses at its failure.
        shown.wait(lambda text: "RUNNING" in text or "FAILED" in text)
        shown.child.send("q")
        shown.child.expect("play again:  effnet-tui --demo")


def test_status_shows_the_same_summary(tmp_path: Path) -> None:
    run = str(unpack(tmp_path))
    shown = CliRunner().invoke(app, ["status", run]).output
    assert "finished after 4 min in 2 attempts" in shown
    assert "best top-1 30.00 %, top-5 80.00 %, after epoch 7" in shown
    found = json.loads(CliRunner().invoke(app, ["status", run, "--json"]).output)["summary"]
    assert (found["attempts"], found["best_top_1"], found["best_epoch"]) == (2, 0.3, 7)
    assert 200 < found["duration_s"] < 300
