"""A run of Slurm in the dashboard, with nothing but keys: queue, start, death, resume, stop."""

from __future__ import annotations

import os
import signal
import time

from textual.pilot import Pilot

from tui.app import Dashboard
from tui.settings import Settings
from tui.sources.live import LiveSource


async def sees(pilot: Pilot[str], *texts: str, limit_s: float = 90) -> None:
    """Waits until all texts are on the screen."""
    deadline = time.monotonic() + limit_s
    while True:
        strips = pilot.app.screen._compositor.render_strips()
        shown = "\n".join(strip.text.rstrip() for strip in strips)
        if all(text in shown for text in texts):
            return
        assert time.monotonic() < deadline, f"{texts} did not come about:\n{shown}"
        await pilot.pause(0.1)


async def test_a_run_waits_trains_dies_resumes_and_stops(lab, monkeypatch, tmp_path):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    blocker = lab.fill_partition()
    # Slurm takes n3 where n2 still ends the job before.
    root = lab.start(epochs=3000, options=["--exclude=n3"])
    app = Dashboard(LiveSource(), Settings(refresh_hz=10, bell=False), run=root.name)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await sees(pilot, "PENDING", f"job {lab.job(root)} waits in the queue: it waits for free")
        lab.slurm.call("scancel", blocker)
        await sees(pilot, "RUNNING", "epoch ", "◆ checkpoint")

        os.kill(lab.rank_pid(root, 3), signal.SIGKILL)
        await sees(pilot, "FAILED", "rank 3 on n2 failed first", "killed (SIGKILL)", "r Resume")

        await pilot.press("r")
        await sees(pilot, f"Resume {root.name}", "Resume (ctrl+s)")
        await pilot.press("enter")
        await sees(pilot, "RUNNING", "attempt 2", "log rank 3 n2 attempt 2")

        await pilot.press("s")
        await sees(pilot, f"Stop run {root.name}?", "4 ranks on 2 nodes: n1, n2")
        await pilot.press("y")
        await sees(pilot, "STOPPED", "stopped by ", "in 2 attempts")
    lab.no_job_left(root)
