"""A node that answers one request after another, each in a process forked from this one.

    python -m tests.launcher.node.forking_node COUNT SEED

Only the start of the interpreter is shared, which takes most of a real node's time. Each request
goes in through a socket, as with sshd. Prints one JSON line per request: what was sent, the exit
status, stdout and stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import tempfile
from typing import BinaryIO

from launcher.core.text.codec import Mismatch
from launcher.core.text.records import MAX_FRAME_BYTES, UnknownKindError, decode, parse_object
from launcher.ipc.operations import Operation
from launcher.ipc.run_operations import ResumeRun
from launcher.node import __main__ as node
from launcher.node.__main__ import handlers
from tests.launcher.node.test_damaged_requests import damaged

HUGE = b'{"mark": "effnet-1", "kind": "' + b"x" * (MAX_FRAME_BYTES + 10) + b'"}'


def main(count: int, seed: int) -> None:
    assert list(handlers())  # imports all modules before the first fork
    chance = random.Random(seed)
    for number in range(count):
        line = HUGE if number == count // 2 else damaged(chance)
        while is_other_operation(line):
            line = damaged(chance)
        print(json.dumps(ask(line)), flush=True)


def is_other_operation(line: bytes) -> bool:
    """Whether it is a whole request of another kind: one of them installs CUDA's libraries."""
    try:
        return not isinstance(decode(Operation, parse_object(line)), ResumeRun)
    except (Mismatch, UnknownKindError):
        return False


def ask(line: bytes) -> dict[str, object]:
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            ours.close()
            run(theirs, out, errors)
        theirs.close()
        with ours:
            # A node reads no more than the largest frame.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                ours.sendall(line + b"\n")
            ours.shutdown(socket.SHUT_WR)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return {
            "line": repr(line[:200]),
            "status": status,
            "stdout": read(out),
            "stderr": read(errors),
        }


def run(request: socket.socket, out: BinaryIO, errors: BinaryIO) -> None:
    """As `python -m launcher.node`. Never returns."""
    for fd, file in enumerate((request, out, errors)):
        os.dup2(file.fileno(), fd)
    code = 70
    try:
        code = node.main()
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 0
    except Exception:  # noqa: BLE001 printed, as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
