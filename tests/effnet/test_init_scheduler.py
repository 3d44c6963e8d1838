"""A rank waits until MindSpore's scheduler listens, and for nothing else."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import pytest

from effnet.distributed.init_scheduler import scheduler_reached

LONG_S = 60.0


@pytest.fixture
def port():
    """One that nobody listens at yet: `listen` on it makes a scheduler of it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


def rank(port: socket.socket, **changes: str) -> dict[str, str]:
    number = str(port.getsockname()[1])
    variables = {"MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": number}
    return {**variables, **changes}


def is_reached(environment: dict[str, str], target: str, limit_s: float) -> bool:
    with scheduler_reached(environment, target, limit_s) as found:
        return found


def test_a_rank_waits_until_the_scheduler_listens(port):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(is_reached(rank(port), "CPU", LONG_S)))
    waiting.start()
    assert answers == []  # however far it is: nobody has listened so far
    port.listen()
    waiting.join()
    assert answers == [True]


def test_only_rank_0_closes_its_link_before_it_registers(port):
    port.listen()
    with (
        scheduler_reached(rank(port, RANK_ID="0"), "CPU", LONG_S),
        contextlib.closing(port.accept()[0]) as link,
    ):
        link.settimeout(LONG_S)
        assert link.recv(1) == b""
    with scheduler_reached(rank(port, RANK_ID="1"), "CPU", LONG_S):
        link, _ = port.accept()
        link.setblocking(False)
        with pytest.raises(BlockingIOError):
            link.recv(1)
    with contextlib.closing(link):
        link.settimeout(LONG_S)
        assert link.recv(1) == b""


def test_it_gives_up_at_its_limit(port):
    began_s = time.monotonic()
    assert not is_reached(rank(port), "CPU", 0.2)
    assert time.monotonic() - began_s >= 0.2


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({}, "Ascend"),
        ({}, "GPU"),
        ({"MS_ROLE": ""}, "CPU"),
        ({"MS_SCHED_HOST": ""}, "CPU"),
        ({"MS_SCHED_PORT": "a port"}, "CPU"),
        ({"MS_SCHED_PORT": "0"}, "CPU"),
        ({"MS_SCHED_PORT": "99999"}, "CPU"),
    ],
)
def test_who_needs_no_scheduler_connects_to_none(port, changes, target):
    port.listen()
    port.setblocking(False)
    assert not is_reached(rank(port, **changes), target, LONG_S)
    with pytest.raises(BlockingIOError):
        port.accept()


def test_a_name_that_nobody_knows_is_asked_for_once(port, monkeypatch):
    asked = []

    def unknown(*given, **named):
        asked.append(given)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not is_reached(rank(port), "CPU", LONG_S)
    assert len(asked) == 1


def test_a_link_that_is_reset_at_once_is_made_again(port, monkeypatch):
    """By a program that ends while it listens at this port, say."""
    port.listen()
    connect, links = socket.create_connection, []

    def connected(address, timeout):
        link = connect(address, timeout)
        if not links:
            there, _ = port.accept()
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()
            with pytest.raises(ConnectionResetError):
                link.recv(1)
        links.append(link)
        return link

    monkeypatch.setattr(socket, "create_connection", connected)
    assert is_reached(rank(port), "CPU", LONG_S)
    assert len(links) == 2
    assert [link.fileno() for link in links] == [-1, -1]
