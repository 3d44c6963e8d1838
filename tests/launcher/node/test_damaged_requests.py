"""Damaged requests to `python -m launcher.node`: an error reply, never a traceback."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from launcher.core.run.requests import ResumeRequest
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    UnknownKindError,
    decode,
    encode,
    parse_object,
)
from launcher.ipc.operations import Operation
from launcher.ipc.run_operations import ResumeRun
from launcher.node.__main__ import handlers

SOUND = {
    "mark": "effnet-1",
    **encode(ResumeRun("/runs/x", ResumeRequest(settings=(("lr", "0.1"),), note="\u00e9"), "{}")),
}
VALUES = (None, True, -1, 1e400, "", "x" * 300, [], {}, [[[]]], {"kind": {}}, 10**40)


def damaged(random_: random.Random) -> bytes:
    """A request with wrong types, missing fields, cut off, or with other bytes in it."""
    fields = dict(SOUND)
    choice = random_.randrange(6)
    if choice == 0:
        fields[random_.choice(list(fields))] = random_.choice(VALUES)
    elif choice == 1:
        del fields[random_.choice(list(fields))]
    elif choice == 2:
        fields["kind"] = random_.choice((*Operation.kinds, "run_dance"))
    line = json.dumps(fields).encode()
    if choice == 3:
        return line[: random_.randrange(len(line))]
    if choice == 4:
        place = random_.randrange(len(line))
        return line[:place] + random_.randbytes(random_.randrange(1, 9)) + line[place + 3 :]
    if choice == 5:
        return random_.choice((b"[" * 2000, b"", b"null", b"[]", b"9" * 5000, b"\xff\xfe"))
    return line


def test_100_000_damaged_requests_are_refused_or_read() -> None:
    random_ = random.Random(9)
    read = 0
    for _ in range(100_000):
        try:
            request = decode(Operation, parse_object(damaged(random_)))
        except (Mismatch, UnknownKindError):
            continue
        read += 1
        assert isinstance(request, Operation)
    assert 10_000 < read < 90_000


def test_a_request_has_a_size_limit() -> None:
    with pytest.raises(Mismatch, match="longer than"):
        parse_object(b"x" * (MAX_FRAME_BYTES + 1))


def test_each_operation_has_one_handler() -> None:
    handled = [kind for group in handlers() for kind in group]
    assert sorted(kind.kind for kind in handled) == sorted(Operation.kinds)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b'{"mark": "m", "kind": 3}\n',
        b'{"mark": "m", "kind": "run_dance"}\n',
        b'{"mark": "m", "op": "facts"}\n',
        b'{"mark": "m", "kind": "facts", "devices": 7}\n',
        b'{"mark": "m", "kind": "find_checkpoints"}\n',
        b'{"mark": "m", "kind": "resume_run", "root": "/x", "request": [], "profile": null}\n',
        b'{"mark": "m", "kind": "start_run_job", "root": "/x", "request": {"kind": 3}}\n',
        b'{"mark": "m", "kind": "find_leftovers", "runs": [{"run": 1}]}\n',
        b'{"mark": "m", "kind": "digest_file", "path": "a\\u0000b"}\n',
        b'{"mark": "m", "kind": "read_file", "path": "a\\u0000b"}\n',
    ],
)
def test_a_real_node_answers_with_its_protocol_version(line: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launcher.node"], input=line, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1, done
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"] is False
    assert answer["protocol"] == PROTOCOL_VERSION
    if b'"mark": "m"' in line:
        assert done.stdout.splitlines()[1] == b"m"


def test_300_damaged_requests_through_a_socket_get_an_answer_each() -> None:
    argv = [sys.executable, "-m", "tests.launcher.node.forking_node", "300", "7"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 300
    refused = 0
    for answer in answers:
        assert "Traceback" not in answer["stderr"], answer
        assert answer["status"] in (0, 1), answer
        reply = json.loads(answer["stdout"].splitlines()[-1])
        assert reply["ok"] == (answer["status"] == 0)
        refused += not reply["ok"]
        assert reply["ok"] or reply["protocol"] == PROTOCOL_VERSION
    assert refused > 200
