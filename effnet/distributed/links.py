"""TCP connections between ranks on CPUs, made when MindSpore has brought the ranks together.

Each rank listens at the address from which it reaches MindSpore's scheduler, and the ranks tell
each other their ports through MindSpore's collectives. So they do with a secret that rank 0 draws:
it is in no file, no environment and no command line. What the ranks then send each other is not
encrypted, as in MindSpore's own collectives.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from effnet.distributed.door import Door
from effnet.distributed.group import Group
from effnet.distributed.handshake import (
    ANSWER_BYTES,
    NONCE_BYTES,
    SECRET_BYTES,
    Meeting,
    hello,
    nonce,
)
from effnet.distributed.places import from_words, gather, to_words
from effnet.distributed.wire import Wire

CONNECT_LIMIT_S = 20.0
"""A firewall that drops packets costs a run so much at its start. A slow peer's system answers."""
PROVE_LIMIT_S = 120.0
"""For all proofs together, which wait for slow peers."""
SILENT_LIMIT_S = 600
"""A link whose other end does not answer for so long is gone. The launcher knows before."""
_PROBES = 10
_NO_PORT = 0


class Place(NamedTuple):
    """Where a rank listens; port 0: nowhere."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


@dataclass(frozen=True)
class Links:
    """`wires` by rank, or empty with the `problem`, which is the same text on all ranks."""

    wires: dict[int, Wire]
    problem: str = ""
    own_problem: str = ""
    """Why this rank has none of its links."""


def connect(group: Group, peers: Collection[int]) -> Links:
    """This rank's links to `peers`, of which it must be one in turn.

    All ranks call it together, some of them with no peers, and get the same kind of answer.
    """
    door: Door | None = None
    own_problem, own = "", Place("::", _NO_PORT)
    if peers:
        try:
            address = own_address()
            door = Door(address)
            own = Place(address, door.port)
        except OSError as error:
            own_problem = f"it cannot listen: {error.strerror or error}"
    # A rank connects to those below it, so no two ranks wait for each other.
    lower = sorted(rank for rank in peers if rank < group.rank)
    called: dict[int, socket.socket] = {}
    links: dict[int, socket.socket] = {}
    try:
        secret, places = _exchange(group, own)
        if not own_problem:
            own_problem = _call_all(lower, places, called)
        problem = _agree(group, [rank for rank in lower if rank not in called], places)
        if not problem:
            until_s = time.monotonic() + PROVE_LIMIT_S
            for peer, link in called.items():
                if not own_problem:
                    try:
                        _prove(link, secret, group.rank, peer, until_s)
                        links[peer] = link
                    except OSError as error:
                        own_problem = _no_link(peer, places, error)
            if door is not None and not own_problem:
                higher = [rank for rank in peers if rank > group.rank]
                links |= door.admit(secret, group.rank, higher, until_s)
    finally:
        if door is not None:
            door.close()
    if own_problem:
        for link in called.values():
            link.close()  # nobody waits for this rank
    missing = [rank for rank in sorted(peers) if rank not in links]
    problem = problem or _agree(group, missing, places)
    if problem:
        for link in (called | links).values():
            link.close()
        return Links({}, problem, own_problem)
    for link in links.values():
        _set_options(link)
    return Links(
        {rank: Wire(link, f"rank {rank} at {places[rank].address}") for rank, link in links.items()}
    )


def own_address() -> str:
    """Of the interface through which this machine reaches the scheduler. Raises `OSError`."""
    host = os.environ.get("MS_SCHED_HOST", "")
    if not host:
        raise OSError("MS_SCHED_HOST is not set")
    family, kind, _, _, there = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    # It sends nothing: the system only selects a route.
    with socket.socket(family, kind) as probe:
        probe.connect(there)
        found: str = probe.getsockname()[0]
    return found


def _exchange(group: Group, own: Place) -> tuple[bytes, list[Place]]:
    """-> rank 0's secret, and where each rank listens."""
    address = ipaddress.ip_address(own.address)
    if address.version == 4:
        packed = ipaddress.IPv6Address(f"::ffff:{address}").packed
    else:
        packed = address.packed
    secret = secrets.token_bytes(SECRET_BYTES) if group.rank == 0 else bytes(SECRET_BYTES)
    every = gather(group, to_words(packed + own.port.to_bytes(2, "big") + secret))
    places = []
    for row in every:
        data = from_words(row)
        there = ipaddress.IPv6Address(data[:16])
        places.append(Place(str(there.ipv4_mapped or there), int.from_bytes(data[16:18], "big")))
    return from_words(every[0])[18:], places


def _call_all(peers: list[int], places: list[Place], called: dict[int, socket.socket]) -> str:
    """Adds a link to each of these ranks, on which nothing is proved yet; -> why one is missing."""
    for peer in peers:
        if places[peer].port == _NO_PORT:
            return _no_link(peer, places, OSError("it does not listen"))
        try:
            called[peer] = socket.create_connection(places[peer], CONNECT_LIMIT_S)
        except OSError as error:
            return _no_link(peer, places, error)
    return ""


def _prove(link: socket.socket, secret: bytes, own: int, peer: int, until_s: float) -> None:
    """The side that has connected, rank `own`. Raises `OSError`."""
    first = nonce()
    link.sendall(hello(own, first))
    answer = b""
    while len(answer) < ANSWER_BYTES:
        link.settimeout(_left_s(until_s))
        found = link.recv(ANSWER_BYTES - len(answer))
        if not found:
            raise ConnectionError("it closed the connection")
        answer += found
    meeting = Meeting(secret, own, peer, first, answer[:NONCE_BYTES])
    meeting.check_answer(answer)
    link.sendall(meeting.proof())


def _no_link(peer: int, places: list[Place], error: OSError) -> str:
    return f"no connection to rank {peer} at {places[peer]}: {error.strerror or error}"


def _left_s(until_s: float) -> float:
    """Raises `TimeoutError` where nothing is left."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def _agree(group: Group, missing: list[int], places: list[Place]) -> str:
    """Why the links cannot be used, in the words of the rank that could not connect."""
    first = np.zeros(group.size, np.float32)
    if missing:
        first[group.rank] = 1 + missing[0]
    first = group.sum(first)
    pairs = [(rank, int(peer) - 1) for rank, peer in enumerate(first) if peer]
    if not pairs:
        return ""
    # One that waited in vain has less to say.
    rank, peer = next((pair for pair in pairs if pair[0] > pair[1]), pairs[0])
    if places[rank].port == _NO_PORT:
        return f"rank {rank} could not listen for the others"
    if places[peer].port == _NO_PORT:
        return f"rank {peer} could not listen for the others"
    return f"rank {rank} and rank {peer} could not connect ({places[min(rank, peer)]})"


def _set_options(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not TCP_USER_TIMEOUT: it also ends a link whose other end answers but reads nothing, as a rank
    # that evaluates.
    for option, value in (
        (socket.TCP_KEEPIDLE, SILENT_LIMIT_S // _PROBES),
        (socket.TCP_KEEPINTVL, SILENT_LIMIT_S // _PROBES),
        (socket.TCP_KEEPCNT, _PROBES),
    ):
        link.setsockopt(socket.IPPROTO_TCP, option, value)
