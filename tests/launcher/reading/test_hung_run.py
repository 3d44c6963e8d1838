"""A run with a stopped rank, as every client shows it: real processes, a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.tui.terminal import terminal

LIMIT_S = 90


@pytest.mark.parametrize("rank", [0, 1])
def test_every_client_names_a_stopped_rank_until_it_recovers(lab, rank):
    root = lab.start(ranks=2, epochs=2000, step_s=0.1, silent_min_s=3)
    lab.wait_for(root, "epoch_finished")
    with terminal(root.name) as shown, terminal() as home:
        shown.wait(lambda text: "RUNNING" in text, LIMIT_S)
        home.wait(lambda text: "● running" in text, LIMIT_S)
        os.kill(lab.pid_of(root, rank), signal.SIGSTOP)
        words = f"rank {rank} · silent"
        shown.wait(lambda text: f" HUNG  {words}" in text.splitlines()[0], LIMIT_S)
        text = home.wait(lambda text: "● hung" in text, LIMIT_S)
        assert words in next(line for line in text.splitlines() if "● hung" in line)
        # The words for the place change when the stacks of all ranks come; the advice stays.
        text = shown.wait(lambda text: "kill -CONT" in text, LIMIT_S)
        header = "\n".join(text.splitlines()[:2])
        assert not re.search(r"ETA \d|\d images/s|\d s ago", header)
        for command in ("status", "runs"):
            assert f"HUNG {words}" in lab.command(command).stdout.splitlines()[0]
        status = json.loads(lab.command("status", "--json").stdout)
        (listed,) = json.loads(lab.command("runs", "--json").stdout)
        for found in (status, listed):
            assert (found["status"], found["hang"]["ranks"], found["eta_s"]) == (
                "hung",
                [rank],
                None,
            )
        assert "is stopped (SIGSTOP" in status["hang"]["why"]
        assert status["images_per_s"] is None
        os.kill(lab.pid_of(root, rank), signal.SIGCONT)
        shown.wait(lambda text: "RUNNING" in text and "ETA –" not in text, LIMIT_S)
        home.wait(lambda text: "● running" in text, LIMIT_S)
    assert lab.command("stop", root.name).returncode == 0
