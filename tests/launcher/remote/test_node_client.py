"""Operations through a real `python -m launcher.node`, a pipe instead of SSH."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.core.messages import Leave
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import PlannedFile, RunContext
from launcher.core.profile.model import Node
from launcher.errors import NodeError, NotInstalledError
from launcher.ipc import operations as op
from launcher.ipc.channel import ChannelClosedError
from launcher.ipc.operations import Operation
from launcher.ipc.run_operations import FollowRun, SetNote
from launcher.reading.profiles import find_profile
from launcher.remote import node_client, ssh
from launcher.remote.file_copy import LocalFiles, NodeFiles, bring
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.node_loop import NodeLoop
from launcher.remote.sync import FileCopy
from launcher.store.atomic import Content
from launcher.supervisor.ssh_transport import SshTransport

NODE = Node(address="10.0.0.1", name="n", python=sys.executable)


class Pipe:
    """A node's process as a stream."""

    is_silent = False

    def __init__(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def read(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(1 << 16)

    def watch(self, on_data: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for file in (self._process.stdin, self._process.stdout):
            os.set_blocking(file.fileno(), False)
        return os.dup(self._process.stdout.fileno())

    def read_now(self, limit: int) -> bytes:
        assert self._process.stdout is not None
        return os.read(self._process.stdout.fileno(), limit)

    def write_now(self, data: bytes) -> int:
        assert self._process.stdin is not None
        return os.write(self._process.stdin.fileno(), data)

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def silent_after(self, seconds: float) -> None:
        """A pipe does not hang."""

    def errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process.stdin is not None and self._process.stdin.closed:
            self._process.stdin = None  # `communicate` would stop at it
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate()


class PipeConnection:
    is_open = True

    def __init__(self) -> None:
        self.streams: list[Pipe] = []

    def start(self, argv: list[str], silent_s: float) -> Pipe:
        self.streams.append(Pipe(argv))
        return self.streams[-1]

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeClient]:
    monkeypatch.setattr(ssh, "connect", lambda *_: PipeConnection())
    found = NodeClient(NODE)
    yield found
    found.close()


def test_a_file_is_copied_to_a_node_and_back(client: NodeClient, tmp_path: Path) -> None:
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    here.write_bytes(b"x" * 3_000_000 + b"\n")
    node = NodeFiles(client)
    assert node.content(str(there)) is None
    assert bring(LocalFiles(), str(here), node, str(there)) == 3_000_001
    assert node.names(str(tmp_path)) == ["here", "there"]
    assert bring(node, str(there), LocalFiles(), str(back)) == 3_000_001
    assert back.read_bytes() == here.read_bytes()


def test_a_file_that_ends_early_is_refused_at_once(client: NodeClient, tmp_path: Path) -> None:
    """As one that a trainer replaces while it is copied: the node would wait for the rest."""
    content = Content(10, "0" * 64)
    with pytest.raises(RefusedError, match="3 of 10 bytes arrived"):
        NodeFiles(client).write(str(tmp_path / "a"), content, (b"abc",))
    assert not list(tmp_path.iterdir())


def test_half_a_file_does_not_stay_when_its_client_is_gone(tmp_path: Path) -> None:
    """Nobody closes the connection: so it is for hours after a cut of the network."""
    program = "from launcher.node import __main__, files; files.QUIET_LIMIT_S = 0.3; "
    argv = [sys.executable, "-c", program + "__main__.main()"]
    request = node_client.request_line(
        op.WriteFile(str(tmp_path / "a"), Content(10, "0" * 64)), "mark"
    )
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        node.stdin.write(request + b"abc")
        assert b"3 of 10 bytes arrived" in node.stdout.read()
    assert not list(tmp_path.iterdir())


def test_one_process_answers_requests_that_follow_each_other(
    client: NodeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").touch()
    streams = client.connection().streams
    monkeypatch.setattr(node_client, "REUSE_S", 60.0)
    for _ in range(9):
        assert client.call(op.ListFiles(str(tmp_path))) == ("a",)
    assert len(streams) < 9
    before = len(streams)
    streams[-1].kill()
    assert client.call(op.ListFiles(str(tmp_path))) == ("a",)
    assert len(streams) == before + 1
    monkeypatch.setattr(node_client, "REUSE_S", 0.0)
    assert client.call(op.ListFiles(str(tmp_path))) == ("a",)
    assert len(streams) == before + 2


def test_a_request_without_an_answer_is_not_sent_twice(
    client: NodeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may have read it before the connection broke."""
    monkeypatch.setattr(node_client, "REUSE_S", 3600.0)
    client.call(op.ListFiles(str(tmp_path)))
    connection = client.connection()
    (stream,) = connection.streams
    monkeypatch.setattr(stream, "read", lambda: b"")
    monkeypatch.setattr(stream, "errors", str)
    monkeypatch.setattr(Pipe, "has_ended", False)
    with pytest.raises(NodeError, match="ended"):
        client.call(op.ListFiles(str(tmp_path)))
    assert connection.streams == [stream]


def test_a_process_ends_without_another_request(client: NodeClient, tmp_path: Path) -> None:
    client.call(op.ListFiles(str(tmp_path)))
    (stream,) = client.connection().streams
    assert stream.read() == b""


def test_a_job_is_followed_to_its_exit_code(client: NodeClient, tmp_path: Path) -> None:
    job, copy = tmp_path / "job", FileCopy("n", tmp_path / "copy", ("log.txt",))
    job.mkdir()
    (job / "log.txt").write_text("a line\n")
    (job / "done.json").write_text('{"exit_code": 3}')
    with copy.request() as request:
        code = client.call(op.FollowJob(str(job), request), copy.write_chunk)
    assert code == 3
    assert (tmp_path / "copy/log.txt").read_text() == "a line\n"


def test_an_error_of_a_node_has_its_kind_and_hint(client: NodeClient, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="was removed") as raised:
        client.call(FollowRun(str(tmp_path / "none"), {}))
    assert (raised.value.node, raised.value.refusal.kind) == ("n", "LaunchError")
    with pytest.raises(RefusedError, match="not one of this machine's") as raised:
        client.call(op.GetFacts(master="192.0.2.1"))
    assert "master.address" in raised.value.hint


def test_a_dead_agent_differs_from_one_that_does_not_answer(
    client: NodeClient, tmp_path: Path
) -> None:
    there, copy = op.AttemptFolder(str(tmp_path), "n", 1, "t"), op.CopyRequest({}, "witness")
    with pytest.raises(RefusedError, match="no agent answers") as raised:
        client.call(op.Connect(there, copy))
    assert raised.value.refusal.kind == "NoAgentError"


def test_a_node_whose_python_lacks_the_launcher_is_not_installed(
    client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_client.programs, "NODE", "launcher.nowhere")
    with pytest.raises(NotInstalledError, match=r"no module launcher\.nowhere"):
        client.call(op.GetFacts())


def test_a_process_that_ended_before_its_request_is_closed(
    client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_client.programs, "NODE", "launcher.nowhere")
    streams, start = client.connection().streams, PipeConnection.start

    def ended(*arguments: Any) -> Pipe:
        stream = start(*arguments)
        stream._process.wait()
        return stream

    monkeypatch.setattr(PipeConnection, "start", ended)
    with pytest.raises(NotInstalledError, match=r"no module launcher\.nowhere"):
        client.call(op.GetFacts())
    assert [stream._process.stdout.closed for stream in streams] == [True]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (op.FindCheckpoints("/x"), {"ok": True}),
        (op.FindCheckpoints("/x"), {"ok": True, "value": [{"path": 3}]}),
        (op.FindLeftovers(()), {"ok": True, "strays": []}),
        (op.GetFacts(), {"ok": True, "value": {"cpus": "all"}}),
        (op.Sweep(op.AttemptFolder("/x", "n", 1, "t"), op.CopyRequest({}, "w")),
         {"ok": True, "value": [1, None]}),
        (SetNote("/x", ""), {"ok": True, "value": 7}),
        (SetNote("/x", ""), {"ok": False, "error": 7}),
        (SetNote("/x", ""), {}),
    ],
)  # fmt: skip
def test_a_damaged_reply_is_a_node_error(
    operation: Operation[Any], message: dict[str, Any]
) -> None:
    with pytest.raises(NodeError, match="does not understand") as raised:
        node_client.read_reply("n", operation, message)
    assert raised.value.node == "n"


def test_an_agent_is_connected_through_its_node(client: NodeClient, tmp_path: Path) -> None:
    there, here = tmp_path / "there/r", tmp_path / "here"
    whole = make_plan(find_profile("cpu-2-nodes-ssh"), RunContext("r", str(there)))
    plan = whole.for_node("beta")
    file = PlannedFile(("beta",), str(there / "attempts/001/hostfile"), "n\n", 0o600)
    stop_file = str(there / "stop")
    plan = replace(plan, run_directory=str(there), stop_file=stop_file, files=(file,), processes=())
    token = secrets.token_hex(8)  # an agent with the same one on this machine would be its agent
    transport = SshTransport(client, plan, here, token, NodeLoop())
    channel = transport.launch()
    assert (there / "attempts/001/hostfile").read_text() == "n\n"
    assert transport.is_agent_alive()
    channel.send(Leave())
    with contextlib.suppress(ChannelClosedError):
        while channel.wait(20):
            pass
    assert channel.closed
    transport.close()
    with pytest.raises(RefusedError, match="no agent answers"):
        transport._try_connect(may_launch=False)
    assert not transport.is_agent_alive()
    (there / "attempts/001/agents/beta.log").write_text("a last line\n")
    assert transport.sweep() == ()
    assert (here / "agents/beta.log").read_text() == "a last line\n"
    assert transport.missed(0)[-1][1]["kind"] == "node_ended"
