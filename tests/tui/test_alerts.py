"""Alerts: when there is one, what the terminal is sent, and the user's own command."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_source import FakeRun, FakeSource
from made_run import MadeRun
from pilots import sees, showing, until
from terminal import Terminal, terminal

from launcher.client import RunStatus
from tui.alerts import Alert, AlertWatch, how_to_notify, sequence
from tui.app import Dashboard
from tui.settings import Settings, load, save, settings_path

HOOK = """\
import os, sys
names = ("RUN", "STATE", "MESSAGE")
with open(sys.argv[1], "a") as file:
    file.write("|".join([*(os.environ[name] for name in names), *sys.argv[2:]]) + "\\n")
"""


def test_an_alert_is_sent_once_and_only_for_runs_seen_live() -> None:
    watch = AlertWatch()
    assert watch.of_run("old", "failed", "long ago") is None
    assert watch.of_run("a", "running", "") is None
    assert watch.of_run("a", "hung", "rank 1 · silent 9 s") == Alert(
        "a", "hung", "rank 1 · silent 9 s"
    )
    assert watch.of_run("a", "hung", "rank 1 · silent 10 s") is None
    assert watch.of_run("a", "running", "") is None
    assert watch.of_run("a", "failed", "rank 1 failed first") == Alert(
        "a", "failed", "rank 1 failed first"
    )
    assert watch.of_run("a", "failed", "rank 1 failed first") is None
    assert watch.of_run("a", "starting", "") is None
    assert watch.of_run("a", "finished", "all done") == Alert("a", "finished", "all done")


def test_a_failure_alert_names_the_first_rank() -> None:
    run, watch = FakeRun(2), AlertWatch()
    assert watch.of_frame(run.frame()) is None
    run.fail(1)
    alert = watch.of_frame(run.frame())
    assert alert is not None
    assert alert.state == "failed"
    assert alert.message.startswith("rank 1 on node-b failed first: SIGKILL (oom); the kernel")


@pytest.mark.parametrize(
    ("environ", "how"),
    [
        ({"TERM": "xterm-256color"}, "osc9"),
        ({"TERM": "foot"}, "osc777"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, "osc777"),
        ({"TERM": "linux"}, "off"),
    ],
)
def test_the_terminal_decides_how_to_notify(environ: dict[str, str], how: str) -> None:
    assert how_to_notify("", environ) == how
    assert how_to_notify("off", environ) == "off"


def test_no_message_can_send_control_sequences() -> None:
    alert = Alert("r", "failed", "\x1b]0;owned\x07 line\nmore \x9b31m")
    for how in ("osc9", "osc777"):
        sent = sequence(alert, how, {})
        assert sent.startswith("\x1b]")
        assert sent.endswith("\x07")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", sent[2:-1])
    assert sequence(alert, "osc9", {"TMUX": "x"}).startswith("\x1bPtmux;\x1b\x1b]9;")
    assert sequence(alert, "off", {}) == ""


def test_hook_and_notify_are_settings_and_are_kept_by_a_save(own_folders: Path) -> None:
    path = own_folders / "dashboard.toml"
    settings = Settings(notify="osc777", hook=("notify-send", 'a "b" \\', "$RUN"))
    save(path, settings)
    assert load(path) == (settings, ())
    path.write_text('hook = "rm -rf x"\nnotify = "loudly"\n')
    loaded, problems = load(path)
    assert loaded == Settings()
    assert len(problems) == 2


async def test_home_and_a_rank_that_hangs_raise_alerts_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[Alert] = []
    monkeypatch.setattr(Dashboard, "alert", lambda self, alert: raised.append(alert))
    source = FakeSource()
    async with showing(source, run=None) as pilot:
        await sees(pilot, "● running")
        first, *others = source.view.runs
        source.view = replace(source.view, runs=(replace(first, status=RunStatus.FAILED), *others))
        await until(pilot, lambda: bool(raised))
        assert raised == [Alert(first.run, "failed", "failed")]
    raised.clear()
    source = FakeSource()
    async with showing(source) as pilot:
        await sees(pilot, "RUNNING")
        source.run.hang(0)
        await until(pilot, lambda: bool(raised))
        await pilot.pause(0.3)
        assert [(one.state, one.message) for one in raised] == [
            ("hung", "rank 0 · silent 12 s · compute")
        ]


@pytest.fixture
def run(own_folders: Path) -> MadeRun:
    made = MadeRun(own_folders / "runs", "made-1", ranks=2, time_s=time.time() - 100)
    made.start()
    made.steps(20)
    return made


def bells(shown: Terminal) -> int:
    """Those that ring, rather than end a sequence."""
    return re.sub(rb"\x1b[\]P].*?(\x07|\x1b\\)", b"", shown.raw, flags=re.DOTALL).count(b"\x07")


def with_settings(text: str) -> None:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_bell_notification_and_hook_when_a_run_fails(run: MadeRun, own_folders: Path) -> None:
    script, output = own_folders / "hook.py", own_folders / "output; rm x"
    script.write_text(HOOK)
    words = [sys.executable, str(script), str(output), "$HOME; echo", "a b"]
    with_settings(f"hook = {words!r}\n".replace("'", '"'))
    with terminal("--readonly", "made-1", columns=100, rows=30) as shown:
        shown.sees("RUNNING")
        assert bells(shown) == 0
        run.fail(1)
        shown.sees("FAILED")
        shown.wait(lambda _: output.is_file() and output.read_text().endswith("\n"))
        (line,) = output.read_text().splitlines()
        assert line.startswith("made-1|failed|rank 1 on localhost failed first")
        assert line.endswith("|$HOME; echo|a b")
        told = b"\x1b]9;effnet-tui: failed made-1: rank 1 on localhost failed first"
        shown.wait(lambda _: told in shown.raw and bells(shown) > 0)
        assert bells(shown) == 1


def test_alerts_can_be_off_and_a_failed_hook_is_shown(run: MadeRun) -> None:
    with_settings('bell = false\nnotify = "off"\nhook = ["/nowhere/at all"]\n')
    with terminal("--readonly", "made-1", columns=100, rows=30) as shown:
        shown.sees("RUNNING")
        run.finish()
        shown.sees("FINISHED", "hook /nowhere/at all")
        assert bells(shown) == 0
        assert b"\x1b]9;" not in shown.raw


def test_a_run_that_was_already_over_sends_no_alert(run: MadeRun) -> None:
    run.fail(1)
    with terminal("--readonly", "made-1", columns=100, rows=30) as shown:
        shown.sees("FAILED")
        shown.read(1.0)
        assert bells(shown) == 0
        assert b"\x1b]9;" not in shown.raw
