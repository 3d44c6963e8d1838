"""Run directories written by version 0.1.0 can be listed, read, replayed and resumed.

`fixtures/run-0.1.0.tar.gz` is a run of the stand-in trainer, written by version 0.1.0: rank 1 of
attempt 1 was killed, an evaluation ran, attempt 2 was stopped at step 23 of 30. Only its last
checkpoint was kept, and its paths were replaced by `/recorded-1`, which has the same length.
"""

from __future__ import annotations

import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app as cli
from launcher.errors import LaunchError
from tests import proof
from tests.launcher.conftest import STANDIN, Lab
from tui.app import Dashboard
from tui.model.run import FrameRequest
from tui.settings import Settings
from tui.sources.live import LiveSource
from tui.sources.replay import ReplaySource

FIXTURE = Path(__file__).parent / "fixtures/run-0.1.0.tar.gz"
DEMO = Path(__file__).parents[2] / "tui/demo/run.tar.gz"
NAME = "previous"


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            path = folder / member.name
            content = tar.extractfile(member)
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
                os.utime(path, (member.mtime, member.mtime))


@pytest.fixture
def root(lab: Lab) -> Path:
    """The recorded run in the runs folder of a lab, with the paths of this machine."""
    unpack(FIXTURE, lab.runs)
    root = lab.runs / NAME
    for path in root.rglob("*"):
        # Offsets count bytes of log.txt, so nothing changes in there.
        if path.suffix in (".json", ".jsonl", ".toml"):
            text = path.read_text().replace("/recorded-1/standin", str(STANDIN))
            path.write_text(text.replace("/recorded-1", str(lab.folder)))
    return root


def answer(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_status_events_and_logs_read_it(lab: Lab, root: Path) -> None:
    unpack(DEMO, lab.runs)
    listed = {run["run"]: run["status"] for run in json.loads(answer("runs", "--json"))}
    assert listed == {NAME: "stopped", "local-cpu-8p-demo": "finished"}
    assert "23/30 steps" in answer("status", NAME)
    status = json.loads(answer("status", NAME, "--json"))
    assert (status["status"], status["attempt"], status["world_size"]) == ("stopped", 2, 2)
    events = [json.loads(line) for line in answer("events", NAME, "--json").splitlines()]
    assert len(events) == 26
    failure = next(event for event in events if event["kind"] == "attempt_failed")["failure"]
    proof.blames(failure, rank=1, signal=9, kind="signal", followers=[0])
    assert len(answer("events", NAME).splitlines()) >= 26
    assert "plain 23" in answer("logs", NAME, "--rank", "1")
    assert "plain 12" in answer("logs", NAME, "--rank", "1", "--attempt", "1")
    assert "eval: images:[360]" in answer("logs", NAME, "--job", "001-eval")
    shown = answer("status", "local-cpu-8p-demo")
    assert "finished" in shown
    assert "epoch 8/8 step 10/10" in shown  # as in the dashboard; it was step 0/10
    assert "rank:[7/8]" in answer("logs", "local-cpu-8p-demo", "--rank", "7")


def test_curves_and_checkpoints_are_read(root: Path) -> None:
    manifests = [facts.manifest for facts in client.checkpoints(root)]
    assert [(one.step, one.epoch) for one in manifests if one is not None] == [(23, 2)]
    for rank in (0, 1):
        steps = proof.reports_are_recorded(
            f"rank {rank}",
            (root / f"attempts/002/ranks/{rank:04d}/log.txt").read_bytes(),
            (root / f"attempts/002/ranks/{rank:04d}/metrics.bin").read_bytes(),
        )
        proof.steps_are_all(f"rank {rank}", steps, 10, 23)


async def test_the_dashboard_lists_and_shows_it(root: Path) -> None:
    app = Dashboard(LiveSource(), Settings(refresh_hz=10, bell=False), run=None)
    async with app.run_test(size=(120, 40)) as pilot:
        deadline = time.monotonic() + 120
        for text in (NAME, "attempt 2"):
            while text not in (screen := _screen(app)):
                assert time.monotonic() < deadline, screen
                await pilot.pause(0.05)
            await pilot.press("enter")


def _screen(app: Dashboard) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def test_a_replay_plays_its_failure_and_its_end(root: Path) -> None:
    source, clock = ReplaySource(2.0), [100.0]
    try:
        run = source.open(str(root))
        run.clock.wall = lambda: clock[0]
        run.clock._since = clock[0]
        seen = []
        while not run.clock.badge.startswith("replay at its end"):
            state = run.frame(FrameRequest()).snapshot.status.value
            seen += [] if state in seen[-1:] else [state]
            clock[0] += 0.2
    finally:
        source.close()
    assert [state for state in seen if state in ("failed", "stopped")] == ["failed", "stopped"]
    assert run.frame(FrameRequest()).snapshot.steps_done == 23


def test_a_resume_continues_it_to_its_end(
    lab: Lab, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = client.resume(NAME, client.ResumeRequest(preflight=False))
    assert choice.step == 23
    # Earlier versions left it readable by all users.
    assert root.stat().st_mode & 0o777 == 0o700
    assert "is private now" in capsys.readouterr().err
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    proof.resumed_from(23, choice.step, lab.events(root), 3)
    for rank in (0, 1):
        proof.steps_are_all(f"rank {rank}", lab.check_metrics(root, rank, 3), 23, 30)
    proof.events_are_whole(lab.events(root))


def test_one_that_others_can_change_is_refused(lab: Lab, root: Path) -> None:
    root.chmod(0o777)
    with pytest.raises(LaunchError, match=r"can be changed by other users \(mode 0777\)") as caught:
        client.resume(NAME, client.ResumeRequest(preflight=False))
    assert "chmod -R go-rwx" in str(caught.value)
    lab.nothing_left()
    assert lab.events(root)[-1]["kind"] == "attempt_stopped"
