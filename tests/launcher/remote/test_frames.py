"""What a node sends: bytes between JSON lines, and every kind of damage."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time

import pytest

from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.profile.model import Node
from launcher.core.run.paths import RunPaths
from launcher.core.text.records import MAX_FRAME_BYTES
from launcher.errors import NodeError
from launcher.ipc.operations import AttemptFolder, Connect, CopyRequest
from launcher.reading.profiles import find_profile
from launcher.remote import frames
from launcher.remote.frames import FrameReader
from launcher.remote.node_client import Call
from launcher.remote.node_loop import NodeLoop, Wire
from launcher.remote.sync import FileCopy, FileSource, names_of
from launcher.supervisor.ssh_transport import SshTransport
from tests.damage import damaged_frames

FILE = {"type": "file", "name": "log.txt", "offset": 0, "start": 0, "data": b"a\nb\x00\xff\n"}


class Pieces:
    """A stream that gives its bytes in pieces of a length."""

    def __init__(self, data, length=1 << 16):
        self._data = data
        self._length = length
        self.is_closed = False

    def read(self):
        piece, self._data = self._data[: self._length], self._data[self._length :]
        return piece

    def write_now(self, data):
        return len(data)

    def watch(self, on_data):
        pass

    def read_now(self, limit):
        return self.read()

    def end_input(self):
        pass

    def close(self):
        self.is_closed = True


def reader(data, length=1 << 16):
    return FrameReader("b", Pieces(b"hello\nmark\n" + data, length), "mark")


def all_of(found):
    read = []
    while (frame := found.read()) is not None:
        read.append(frame.message)
    return read


@pytest.mark.parametrize("length", [1, 3, 1000])
def test_bytes_arrive_unchanged_in_any_chunks(length):
    reply = {"type": "reply", "ok": True}
    data = frames.encode(FILE) + frames.encode(reply) + frames.encode({**FILE, "data": b""})
    first, second, third = all_of(reader(data, length))
    assert (first["data"], third["data"]) == (FILE["data"], b"")
    assert second == reply


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b'{"type":"fi\n',
        b"[" * 100_000 + b"\n",
        b'{"type":"file","body_bytes":"1"}\n',
        b'{"type":"file","body_bytes":-1}\n',
        b'{"type":"file","body_bytes":true}\n',
        b'{"type":"file","body_bytes":99999999999}\n',
        b"x" * (MAX_FRAME_BYTES + 2),
    ],
)
def test_a_damaged_message_is_an_error_that_names_the_node(line):
    with pytest.raises(NodeError, match="b: it sent a damaged message"):
        all_of(reader(line))


def test_a_login_shell_without_end_is_an_error():
    with pytest.raises(NodeError, match="1 MiB"):
        FrameReader("b", Pieces(b"x" * (2 << 20)), "mark").read()


@pytest.mark.parametrize(
    "changed",
    [
        {"name": None},
        {"data": "text"},
        {"offset": "0"},
        {"offset": 7},
        {"start": 1 << 70},
        {"part": -1},
        {"part": 0, "changed_ns": "x"},
        {"name": "nul\0.log"},
    ],
)
def test_a_damaged_file_message_writes_nothing(tmp_path, changed):
    copy = FileCopy("b", tmp_path / "run")
    with pytest.raises(NodeError):
        copy.write_chunk({**FILE, **changed})
    assert not (tmp_path / "run/log.txt").exists() or not (tmp_path / "run/log.txt").read_bytes()


@pytest.mark.parametrize("name", ["../x.log", "/tmp/x.log", "a/../../x.log", "link.json"])
def test_a_node_writes_only_files_of_its_run(tmp_path, name):
    FileCopy("b", tmp_path / "run").write_chunk({**FILE, "name": name})
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_equal_and_continues_at_its_end(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "attempts").mkdir(parents=True)
    (there / "run.json").write_text("{}")
    (there / "events.jsonl").write_bytes(b"1\n")
    (there / "attempts/a.log").write_bytes(b"x" * 600_000)
    (there / "link.json").write_text("not copied")
    for _ in range(2):
        copy = FileCopy("b", here)
        source = FileSource(there, copy.known())
        while messages := list(source.read()):
            for message in messages:
                copy.write_chunk(message)
        with (there / "attempts/a.log").open("ab") as log:
            log.write(b"more\n")
        (there / "run.json").write_text('{"new": 1}')
    assert (here / "attempts/a.log").read_bytes() == b"x" * 600_000 + b"more\n"
    assert (here / "run.json").read_text() == '{"new": 1}'
    assert (here / "events.jsonl").read_bytes() == b"1\n"
    assert not (here / "link.json").exists()


def test_the_log_of_what_imports_for_the_ranks_of_a_node_is_copied(tmp_path):
    plan = make_plan(find_profile("cpu-2-nodes-ssh"), RunContext("run", str(tmp_path)))
    part = plan.for_node("beta")
    started = dataclasses.replace(
        part,
        processes=tuple(dataclasses.replace(p, is_forked=False) for p in part.processes),
    )
    log = RunPaths(tmp_path).attempt(1).fork_log("beta").name
    assert set(names_of(part)) - set(names_of(started)) == {log}


def wire(tmp_path, data):
    plan = make_plan(find_profile("cpu-2-nodes-ssh"), RunContext("run", str(tmp_path)))
    ours, theirs = socket.socketpair()
    stream = Pieces(b"mark\n" + data)

    class Client:
        label = "b"

        def close(self):
            pass

    transport = SshTransport(Client(), plan.for_node("beta"), tmp_path, "token", loop := NodeLoop())
    there, copy = AttemptFolder("/r", "b", 1, "token"), CopyRequest({}, "witness")
    frames = FrameReader("b", stream, "mark")
    call = Call(Node(address="b"), Connect(there, copy), stream, frames)
    wire = Wire(call.stream, call.frames, theirs, transport._handle, transport._ended)
    loop.add(wire)
    return wire, ours, stream


def ends(sock):
    sock.settimeout(10)
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"file"',
        b'{"type":"file"}\n',
        b'{"kind":"pong","t":"abc"}\n',
        b'{"kind":"pong","t":1e999}\n',
        b'{"kind":"pong","t":' + b"9" * 400 + b"}\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_line_closes_the_link_not_only_its_thread(tmp_path, line):
    """Before, the reader thread died and the link counted as open."""
    _, ours, stream = wire(tmp_path, b'{"kind":"rank_started"}\n' + line)
    assert ends(ours) == b'{"kind":"rank_started"}\n'
    assert stream.is_closed
    ours.close()


def test_a_damaged_frame_always_closes_the_link(tmp_path):
    samples = [
        b'{"type":"file","name":"log.txt","offset":0,"start":0,"body_bytes":3}',
        json.dumps({"kind": "pong", "t": time.time()}).encode(),
        b'{"kind":"rank_exited","rank":1,"code":0}',
    ]
    for frame in damaged_frames(samples, 300, seed=1):
        _, ours, stream = wire(tmp_path, frame + b"\n" + b"abc")
        ends(ours)
        assert stream.is_closed
        ours.close()


def test_every_damaged_frame_is_read_or_refused():
    samples = [
        b'{"type":"file","name":"log.txt","offset":0,"start":0,"body_bytes":3}',
        b'{"type":"reply","ok":true,"facts":{"a":[1,2]}}',
    ]
    refused = 0
    for frame in damaged_frames(samples, 5000, seed=2):
        with contextlib.suppress(NodeError):
            all_of(reader(frame + b"\nabc\n{}\n"))
            refused -= 1
        refused += 1
    assert refused > 1000
