"""Damaged requests to `python -m launcher.node`: an error reply, never a traceback."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from launcher.core.text.codec import Mismatch
from launcher.core.text.records import MAX_FRAME_BYTES, PROTOCOL_VERSION, UnknownKindError
from launcher.node.__main__ import ELSEWHERE, OPERATIONS, parse_request

SOUND = {
    "mark": "effnet-1",
    "op": "facts",
    "runs_directory": "~/runs",
    "master": "10.0.0.1",
    "devices": [0, 1],
    "request": {"settings": [["lr", "0.1"]], "note": "\u00e9"},
}
VALUES = (None, True, -1, 1e400, "", "x" * 300, [], {}, [[[]]], {"op": {}}, 10**40)


def damaged(random_: random.Random) -> bytes:
    """A request with wrong types, missing fields, cut off, or with other bytes in it."""
    fields = dict(SOUND)
    choice = random_.randrange(6)
    if choice == 0:
        fields[random_.choice(list(fields))] = random_.choice(VALUES)
    elif choice == 1:
        del fields[random_.choice(list(fields))]
    elif choice == 2:
        fields["op"] = random_.choice((*OPERATIONS, *ELSEWHERE, "run_dance"))
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
            request = parse_request(damaged(random_))
        except (Mismatch, UnknownKindError):
            continue
        read += 1
        assert isinstance(request.mark, str)
        assert request.operation in OPERATIONS or request.operation in ELSEWHERE
    assert 10_000 < read < 90_000


def test_a_request_has_a_largest_size() -> None:
    with pytest.raises(Mismatch, match="longer than"):
        parse_request(b"x" * (MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b'{"mark": "m", "op": 3}\n',
        b'{"mark": "m", "op": "run_dance"}\n',
        b'{"mark": "m", "op": "facts", "devices": 7}\n',
        b'{"mark": "m", "op": "checkpoints"}\n',
        b'{"mark": "m", "op": "run_resume", "root": "/x", "request": []}\n',
        b'{"mark": "m", "op": "run_job", "root": "/x", "request": {"kind": 3}}\n',
        b'{"mark": "m", "op": "leftovers", "runs": [{"run": 1}]}\n',
    ],
)
def test_a_real_node_answers_and_says_its_protocol(line: bytes) -> None:
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
