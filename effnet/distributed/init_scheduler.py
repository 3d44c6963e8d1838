"""Waits for MindSpore's scheduler before a rank looks for it.

MindSpore 2.10 tries to connect, and where nobody listens yet sleeps for half a second. Forked ranks
are ready a third of a second before the scheduler is, so each of them would sleep once.

Each rank then registers, and asks at once whether all have. Where not, it asks again a second
later. When a link closes, the scheduler does nothing for 50 ms, and then handles what has arrived.
So rank 0 closes its link before it registers: ranks that register in these 50 ms are all there
before one of them asks. The other links stay open until the ranks have met.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

LIMIT_S = 30.0
"""After that MindSpore waits itself, and says what is wrong."""
PORTS = range(1, 1 << 16)
POLL_S = 0.01
_TRY_S = 1.0
_ABORT = struct.pack("ii", 1, 0)


@contextmanager
def scheduler_reached(
    environment: Mapping[str, str], target: str, limit_s: float = LIMIT_S
) -> Iterator[bool]:
    """Whether the scheduler that a rank's variables name listens; waits for that.

    A device's rank, and one that MindSpore's cluster does not bring together, waits for nothing.
    """
    host, port = environment.get("MS_SCHED_HOST", ""), environment.get("MS_SCHED_PORT", "")
    is_worker = environment.get("MS_ROLE") == "MS_WORKER"
    link: socket.socket | None = None
    if target == "CPU" and is_worker and host and port.isdecimal() and int(port) in PORTS:
        link = _link(host, int(port), time.monotonic() + limit_s)
    with link or nullcontext():
        if link is not None and environment.get("RANK_ID") == "0":
            link.close()
        yield link is not None


def _link(host: str, port: int, until_s: float) -> socket.socket | None:
    while (left_s := until_s - time.monotonic()) > 0:
        try:
            link = socket.create_connection((host, port), min(left_s, _TRY_S))
        except socket.gaierror:
            return None  # a name that nobody knows: MindSpore says so
        except OSError:
            time.sleep(POLL_S)
            continue
        try:
            if link.getsockname() != link.getpeername():
                return link
            # On its own machine a socket can connect to itself: the port must be free at once.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        except OSError:  # the other side has reset it, as a program does that ends
            time.sleep(POLL_S)
        link.close()
    return None
