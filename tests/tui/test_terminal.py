"""The whole program in a pseudo-terminal: colours, sizes, and a terminal that goes away."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from made_run import MadeRun
from terminal import LIMIT_S, Terminal, terminal


@pytest.fixture
def run(own_folders: Path) -> MadeRun:
    """A living run of four ranks."""
    made = MadeRun(own_folders / "runs", "made-1", ranks=4, late=3, time_s=time.time() - 100)
    made.start()
    made.steps(100)
    return made


def colours(raw: bytes) -> set[str]:
    """The SGR parameters that set a colour."""
    found: set[str] = set()
    for match in re.finditer(rb"\x1b\[([\d;]*)m", raw):
        for part in re.findall(r"[34]8;[25](?:;\d+)+|\b(?:3|4|9|10)[0-7]\b", match[1].decode()):
            found.add(part)
    return found


def test_no_color_draws_without_colours_and_is_readable(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", NO_COLOR="1", columns=120, rows=36) as shown:
        shown.sees("RUNNING", "rank 3", "late", "? Help")
        assert colours(shown.raw) == set()
        # The state's badge and the title lines stand out without a colour.
        assert shown.screen.buffer[0][1].reverse
        assert shown.screen.buffer[2][4].underscore


def test_sixteen_colours_are_enough(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", TERM="xterm", columns=120, rows=36) as shown:
        shown.sees("RUNNING", "rank 3", "late")
        used = colours(shown.raw)
        assert used
        assert not any(";" in colour for colour in used)
        # Nothing is painted in its background colour.
        for row in range(36):
            for cell in shown.screen.buffer[row].values():
                assert cell.data == " " or cell.fg != cell.bg or cell.fg == "default"


def test_only_ascii_is_drawn_without_utf8(run: MadeRun) -> None:
    with terminal(
        "--readonly", "made-1", LANG="C", LC_ALL="POSIX", TERM="vt100", columns=100, rows=30
    ) as shown:
        text = shown.sees("RUNNING", "loss")
        drawn = {char for char in text if ord(char) > 126}
        assert drawn <= {"–", "…"}


def test_many_resizes_end_with_a_complete_screen(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", columns=80, rows=24) as shown:
        shown.sees("RUNNING")
        for columns, rows in [(40, 10), (160, 48), (61, 17), (30, 5), (200, 50), (90, 28)] * 3:
            shown.resize(columns, rows)
            shown.read(0.02)
        shown.resize(100, 30)
        texts = ("log rank 0", "q Quit")
        shown.wait(lambda text: text.startswith(" RUNNING") and all(one in text for one in texts))
        shown.child.send("q")
        shown.child.expect("come back: ", timeout=LIMIT_S)


def hang_up(shown: Terminal) -> None:
    """Close the terminal under the dashboard, which must end: in 5 s, were the machine its own."""
    pid = shown.child.pid
    shown.child.ptyproc.fileobj.close()
    shown.child.closed = shown.child.ptyproc.closed = True
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError("it is still there")
    shown.child.terminated = shown.child.ptyproc.terminated = True


@pytest.fixture(params=["hangup", "hangup ignored"])
def hangup(request: pytest.FixtureRequest) -> Iterator[None]:
    """The dashboard inherits how SIGHUP is treated."""
    before = signal.getsignal(signal.SIGHUP)
    if request.param == "hangup ignored":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_a_closed_terminal_ends_the_dashboard(run: MadeRun) -> None:
    with terminal("--readonly", "made-1") as shown:
        shown.sees("RUNNING")
        hang_up(shown)


@pytest.mark.usefixtures("hangup")
def test_a_replay_in_a_closed_terminal_removes_its_copy(run: MadeRun, tmp_path: Path) -> None:
    run.fail(2)
    copies = tmp_path / "copies"
    copies.mkdir()
    with terminal("--replay", "made-1", TMPDIR=str(copies)) as shown:
        shown.sees("replay", "RUNNING")
        assert any(copies.glob("effnet-replay-*"))
        hang_up(shown)
    assert not any(copies.glob("effnet-replay-*"))


def test_a_slow_terminal_gets_fewer_frames_and_a_note(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", columns=160, rows=48) as shown:
        shown.sees("RUNNING", " Hz")
        # Nobody reads: the terminal's buffer fills, and writing to it blocks.
        end = time.monotonic() + 300
        while "slowed" not in shown.text() and time.monotonic() < end:
            for _ in range(20):
                run.steps(1)
                time.sleep(0.25)
            shown.read(1)
        assert "Hz (slowed)" in shown.text()


def test_first_frame_is_drawn_without_a_key(run: MadeRun) -> None:
    with terminal() as shown:
        shown.wait(lambda text: "effnet-tui" in text)


def test_failure_is_read_and_replayed(run: MadeRun) -> None:
    run.fail(2)
    with terminal("--readonly", "made-1", columns=100, rows=30) as shown:
        shown.sees("FAILED", "rank 2 on localhost failed first", "resume from step", "verified")
    with terminal("--replay", "made-1", "--speed", "500", columns=100, rows=30) as shown:
        shown.sees("replay", "FAILED")
        shown.child.send("p,")  # paused: a minute is over in a moment at this speed
        shown.sees("RUNNING")


def test_refresh_rate_can_be_set(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", "--refresh", "0.5") as shown:
        shown.sees("RUNNING", "0.5 Hz")


def test_ctrl_z_gives_the_terminal_back(run: MadeRun) -> None:
    with terminal("--readonly", "made-1", columns=100, rows=30) as shown:
        shown.sees("RUNNING")
        shown.child.send("\x1a")
        status = psutil.Process(shown.child.pid)
        shown.wait(lambda _: status.status() == psutil.STATUS_STOPPED)
        shown.wait(lambda _: b"\x1b[?1049l" in shown.raw)  # the screen from before
        os.kill(shown.child.pid, signal.SIGCONT)
        shown.sees("RUNNING", "q Quit")
