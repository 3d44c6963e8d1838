"""The shell's parts by themselves: files that are cut, lines of any kind, processes that hide."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launcher.agent.rank_log import RankLog
from launcher.core.run import events
from launcher.core.run.metrics import METRIC_BYTES
from launcher.core.run.paths import RankPaths
from launcher.core.run.report import MAX_LINE_BYTES
from launcher.errors import BusyError, LaunchError
from launcher.ipc import socket_folder
from launcher.ipc.channel import Channel, ChannelClosedError
from launcher.planning import port as planning_port
from launcher.process import ownership
from launcher.store.event_log import EventLog, read_state
from launcher.store.journal import Journal, read_lines
from launcher.store.record_file import RecordFile
from launcher.store.tail import Tail, last_lines

STEP = "epoch: [  0/  3], step:[%5d/   10], loss:[2.3/2.3], time:[1.0], lr:[0.01]\n"


def lines_of(tail: Tail) -> list[tuple[int, bytes]]:
    """All lines that are there, with the offsets that the tail's rule gives them."""
    found = []
    while True:
        offset, lines = tail.read(1000)
        for line in lines:
            found.append((offset, line))
            offset += len(line) + 1
        if tail.at_end():
            return found


def test_a_tail_keeps_part_lines_and_survives_rotation(tmp_path):
    path = tmp_path / "log.txt"
    tail = Tail(path)
    assert lines_of(tail) == []
    path.write_bytes(b"one\ntwo\npa")
    assert lines_of(tail) == [(0, b"one"), (4, b"two")]
    with path.open("ab") as file:
        file.write(b"rt\n\n")
    assert lines_of(tail) == [(8, b"part"), (13, b"")]
    path.rename(tmp_path / "log.1")
    with (tmp_path / "log.1").open("ab") as file:
        file.write(b"late\n")
    path.write_bytes(b"new\n")
    assert lines_of(tail) == [(14, b"late")]
    tail.read()
    assert lines_of(tail) == [(0, b"new")]
    path.write_bytes(b"c\n")
    tail.read()
    assert lines_of(tail) == [(0, b"c")]
    tail.close()


def test_a_tail_finds_the_end_of_a_huge_line(tmp_path):
    path = tmp_path / "log.txt"
    size = 3 * MAX_LINE_BYTES
    path.write_bytes(b"x" * size + b"\nafter\n")
    tail = Tail(path)
    assert lines_of(tail)[-1] == (size + 1, b"after")
    tail.close()


def test_reports_after_garbage_have_their_offsets(tmp_path):
    paths = RankPaths(tmp_path)
    paths.log.write_bytes(bytes(range(256)) + b"\n" + (STEP % 0).encode() + b"\xff\r\x00\n")
    log = RankLog(0, paths)
    assert [fact["type"] for fact in log.drain(1.0)] == ["training_started"]
    assert log.global_step == 1
    log.close()
    # Bytes 10 and 256 end the first two lines.
    assert log.recent()[0].log_offset == 257
    assert paths.metrics.stat().st_size == METRIC_BYTES
    with paths.log.open("ab") as file:
        file.write((STEP % 1).encode())
    again = RankLog(0, paths)
    again.drain(2.0)
    again.close()
    assert paths.metrics.stat().st_size == 2 * METRIC_BYTES


def test_plain_lines_pass_at_100000_a_second(tmp_path):
    paths = RankPaths(tmp_path)
    count = 300_000
    with paths.log.open("wb") as file:
        file.writelines(
            b"[WARNING] DEVICE(1,7f,python): line %d of many\n" % i for i in range(count)
        )
    log = RankLog(0, paths)
    began = time.process_time()
    log.drain(1.0)
    taken_s = time.process_time() - began
    log.close()
    assert count / taken_s > 100_000


def test_last_lines_come_with_their_offset(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"".join(b"line %d\n" % i for i in range(20000)))
    lines, offset = last_lines(path, 3)
    assert lines == ["line 19997", "line 19998", "line 19999"]
    assert path.read_bytes()[offset:].startswith(b"line 19997\n")
    assert last_lines(tmp_path / "none", 3) == ([], 0)


def test_a_record_file_cuts_a_torn_record_and_waits_for_space(tmp_path, monkeypatch):
    path = tmp_path / "metrics.bin"
    path.write_bytes(b"a" * 8 + b"torn")
    records = RecordFile(path, 8)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    records.append(b"b" * 8)
    records.flush()
    assert records.trouble is not None
    monkeypatch.setattr(os, "pwrite", real)
    records.append(b"c" * 8)
    records.flush()
    assert records.trouble is None
    records.close()
    assert path.read_bytes() == b"a" * 8 + b"b" * 8 + b"c" * 8


def test_a_journal_mends_a_torn_line_and_numbers_across_writers(tmp_path):
    path = tmp_path / "events.jsonl"
    first, second = Journal(path), Journal(path)

    def line(n: int) -> str:
        return json.dumps({"n": n})

    assert [first.append(line), second.append(line), first.append(line)] == [1, 2, 3]
    with path.open("ab") as file:
        file.write(b'{"n": 4, "ki')
    assert second.append(line) == 4
    path.open("ab").close()
    assert [n for n, _ in read_lines(path)] == [1, 2, 3, 4]
    first.close()
    second.close()


def test_many_writers_leave_no_gap(tmp_path):
    def write() -> None:
        log = EventLog(tmp_path / "events.jsonl")
        for _ in range(50):
            log.add(events.SupervisorStarted, pid=1)
        log.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [n for n, _ in read_lines(tmp_path / "events.jsonl")]
    assert numbers == list(range(1, 201))


def test_events_wait_for_space_in_their_order(tmp_path, monkeypatch):
    log = EventLog(tmp_path / "events.jsonl")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    log.add(events.RunCreated, run="r", profile="p", world_size=2)
    log.add(events.AttemptStarted, attempt=1, world_size=2)
    assert log.trouble is not None
    assert read_state(tmp_path).last_n == 0
    monkeypatch.setattr(os, "pwrite", real)
    log.flush()
    assert log.trouble is None
    assert (log.state.run, log.state.last_n) == ("r", 2)
    log.close()


def test_a_channel_gives_up_a_side_that_does_not_read(monkeypatch):
    monkeypatch.setattr("launcher.ipc.channel.MAX_UNSENT_BYTES", 1 << 20)
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    began = time.monotonic()
    channel.send({"text": "x" * 1_000_000})
    with pytest.raises(ChannelClosedError):
        channel.send({"text": "x" * 1_000_000})
    assert time.monotonic() - began < 30  # it does not wait for the other side
    theirs.close()


def test_a_channel_takes_messages_apart_and_skips_nonsense():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"a": 1}\nnonsense\n[1]\n{"b": ')
    assert channel.wait(1) == [{"a": 1}]
    theirs.sendall(b"2}\n")
    assert channel.wait(1) == [{"b": 2}]
    theirs.close()
    assert channel.receive() == []
    assert channel.closed


def test_the_runtime_folder_must_be_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = socket_folder.runtime_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(LaunchError, match="0700"):
        socket_folder.runtime_folder()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("d" * 120)))
    assert len(socket_folder.socket_path(tmp_path / ("run" * 40), "supervisor")) < 108


def test_two_port_claims_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    claims = [planning_port.PortClaim("127.0.0.1") for _ in range(3)]
    assert len({claim.port for claim in claims}) == 3
    for claim in claims:
        claim.release()


def test_no_free_port_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(planning_port, "_is_free", lambda address, port: False)
    with pytest.raises(BusyError, match="no free port"):
        planning_port.PortClaim("127.0.0.1")


def test_a_reused_pid_is_never_signalled():
    with subprocess.Popen(["sleep", "60"]) as child:
        process = ownership.read_process(child.pid)
        other = ownership.Process(child.pid, process.start_time - 1, 0, 0, "S")
        assert not ownership.send_signal(other, signal.SIGKILL)
        assert child.poll() is None
        assert ownership.send_signal(process, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def test_a_token_is_matched_whole_or_by_its_run():
    environment = {**os.environ, "EFFNET_TOKEN": "run-1/002"}
    with subprocess.Popen(["sleep", "60"], env=environment) as child:
        for token, is_ours in [
            ("run-1/002", True),
            ("run-1/", True),
            ("run-1/00", False),
            ("run-", False),
            ("", False),
        ]:
            found = {process.pid for process in ownership.owned(ownership.Claim(token))}
            assert (child.pid in found) is is_ours, token
        child.kill()


def rank(*arguments: str, token: str = "t/001") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EFFNET_TOKEN": token}
    argv = [sys.executable, "-m", "launcher.rank", *arguments]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=False, cwd=Path.cwd()
    )


def test_a_rank_becomes_its_program(tmp_path):
    log = tmp_path / "a log 'with' quotes.txt"
    log.write_text("before\n")
    code = "import os,sys; print(os.getsid(0) == os.getpid(), os.sched_getaffinity(0), flush=True);"
    code += "print(os.environ['EFFNET_HEARTBEAT'], os.getcwd(), file=sys.stderr)"
    cpu = min(os.sched_getaffinity(0))
    done = rank(
        "--log",
        str(log),
        "--heartbeat",
        "beat",
        "--cwd",
        str(tmp_path),
        "--cpus",
        str(cpu),
        "--",
        sys.executable,
        "-c",
        code,
    )
    assert done.returncode == 0
    assert log.read_text() == f"before\nTrue {{{cpu}}}\nbeat {tmp_path}\n"


@pytest.mark.parametrize(
    ("program", "code"), [("/no/such/program", 127), ("no-such-program", 127), ("/etc", 126)]
)
def test_a_rank_whose_program_is_not_there_says_so_in_its_log(tmp_path, program, code):
    log = tmp_path / "log.txt"
    assert rank("--log", str(log), "--", program).returncode == code
    assert log.read_text().startswith("fault: kind:[config], text:[")


def test_a_rank_without_a_token_or_with_a_dead_parent_does_not_start(tmp_path):
    log = tmp_path / "log.txt"
    assert rank("--log", str(log), "--", "true", token="").returncode == 2
    assert rank("--log", str(log), "--parent", "1", "--", "true").returncode == 143
    assert not log.exists()


def test_the_command_line_is_quick_to_load():
    code = "import sys, launcher.cli.app; print([m for m in "
    code += "('paramiko', 'pydantic', 'psutil', 'rich.console', 'textual') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_agent_says_nothing_to_one_who_has_not_said_hello(tmp_path):
    """A new message that came before the old ones would hide them for ever."""
    from launcher.agent.__main__ import Agent
    from launcher.ipc.endpoint import Door
    from launcher.store.journal import Journal

    agent = Agent(Journal(tmp_path / "a.jsonl"), Door(tmp_path, "a", tmp_path / "a.json"))
    ours, theirs = socket.socketpair()
    listener, channel = Channel(ours), Channel(theirs)
    agent._channels.append(channel)
    try:
        agent.tell({"type": "one"})
        assert listener.receive() == []
        agent._obey(channel, {"cmd": "hello", "after": 0})
        agent.tell({"type": "two"})
        assert [message["n"] for message in listener.receive()] == [1, 2]
    finally:
        listener.close()
        channel.close()
