"""Connections between ranks: only ranks of one run meet, and all agree when some cannot."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from effnet.distributed import door, handshake, links, sums
from effnet.distributed.door import Door
from effnet.distributed.group import CollectiveSum, Group
from effnet.distributed.ordered_sum import OrderedSum
from tests.effnet.sum_lab import answers, in_order
from tests.effnet.test_sums import reduced


@pytest.fixture(autouse=True)
def _scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS_SCHED_HOST", "127.0.0.1")


def test_strangers_at_the_port_change_nothing() -> None:
    """A port scanner, a silent one, one that leaves, and ranks of another run."""

    def meets_strangers(group: Group) -> bytes:
        admit, callers = Door.admit, []

        def call(port: int, message: bytes) -> None:
            link = socket.create_connection(("127.0.0.1", port))
            link.sendall(message)
            callers.append(link)

        def after_strangers(
            self: Door, secret: bytes, own: int, expected: Collection[int], until_s: float
        ) -> dict[int, socket.socket]:
            nonce = handshake.nonce()
            for message in (b"", b"GET / HTTP/1.1\r\n" * 9, handshake.hello(1, nonce)):
                call(self.port, message)
            call(self.port, handshake.hello(1, nonce) + b"0" * handshake.PROOF_BYTES)
            call(self.port, handshake.hello(7, nonce))
            callers.pop(0).close()
            return admit(self, secret, own, expected, until_s)

        Door.admit = after_strangers  # type: ignore[method-assign]
        added = sums.join(group, 100, "auto", "CPU").sum
        assert isinstance(added, OrderedSum)
        return reduced(group, added, 0, 100)

    assert answers(meets_strangers, "abc") == [in_order(3, 0, 100).tobytes()] * 3


def selected(group: Group) -> tuple[object, str]:
    found = sums.join(group, 100, "auto", "CPU")
    return type(found.sum), "\n".join(found.notes)


def test_a_rank_that_does_not_know_the_secret_is_not_let_in() -> None:
    def one_is_false(group: Group) -> tuple[object, str]:
        if group.rank == 1:
            exchange = links._exchange

            def forged(*given: object) -> tuple[bytes, list[links.Place]]:
                _, places = exchange(*given)  # type: ignore[arg-type]
                return bytes(handshake.SECRET_BYTES), places

            links._exchange = forged
        hear = door._Caller.hear

        def until_refused(*given: object) -> int | None:
            try:
                return hear(*given)  # type: ignore[arg-type]
            except OSError:
                door.time = SimpleNamespace(monotonic=lambda: math.inf)  # type: ignore[assignment]
                raise

        door._Caller.hear = until_refused  # type: ignore[assignment, method-assign]
        return selected(group)

    first, second = answers(one_is_false, "ab")
    assert (first[0], second[0]) == (CollectiveSum, CollectiveSum)
    assert "it does not know the run's secret" in second[1]


def test_the_oldest_stranger_makes_room_for_a_rank() -> None:
    entry, secret = door.Door("127.0.0.1"), handshake.nonce()
    until_s = time.monotonic() + 100
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        admitted = pool.submit(entry.admit, secret, 0, [1], until_s)
        count = door._MAX_CALLERS + 1
        there = ("127.0.0.1", entry.port)
        silent = [stack.enter_context(socket.create_connection(there)) for _ in range(count)]
        assert silent[0].recv(1) == b""
        link = stack.enter_context(socket.create_connection(there))
        links._prove(link, secret, 1, 0, until_s)
        found = admitted.result()
        assert found.keys() == {1}
        found[1].close()
    entry.close()


def test_ranks_that_a_firewall_separates_agree_to_use_the_library() -> None:
    def filtered(group: Group) -> tuple[object, str]:
        def dropped(*given: object) -> socket.socket:
            raise TimeoutError("timed out")

        if group.rank == 2:
            links.socket.create_connection = dropped  # type: ignore[assignment]
        return selected(group)

    found = answers(filtered, "abc")
    assert [kind for kind, _ in found] == [CollectiveSum] * 3
    assert "rank 2 and rank 1 could not connect (127.0.0.1 port " in found[0][1]
    assert "let the firewall pass TCP" in found[0][1]
    assert "no connection to rank 1 at 127.0.0.1 port " in found[2][1]


def test_a_slow_rank_is_no_firewall() -> None:
    def one_is_slow(group: Group) -> tuple[object, str]:
        links.CONNECT_LIMIT_S = 0.5
        if group.rank == 0:
            admit = Door.admit

            def late(*given: object) -> dict[int, socket.socket]:
                time.sleep(3 * links.CONNECT_LIMIT_S)
                return admit(*given)  # type: ignore[arg-type]

            Door.admit = late  # type: ignore[method-assign, assignment]
        return selected(group)

    assert [kind for kind, _ in answers(one_is_slow, "ab")] == [OrderedSum] * 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_cannot_listen_is_named(rank: int) -> None:
    def deaf(group: Group) -> tuple[object, str]:
        if group.rank == rank:
            del links.os.environ["MS_SCHED_HOST"]
        return selected(group)

    found = answers(deaf, "ab")
    assert [kind for kind, _ in found] == [CollectiveSum] * 2
    assert f"rank {rank} could not listen for the others" in found[0][1]
    assert "MS_SCHED_HOST is not set" in found[rank][1]


def test_ranks_meet_over_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS_SCHED_HOST", "::1")

    def meets(group: Group) -> tuple[str, bytes]:
        added = sums.join(group, 100, "auto", "CPU").sum
        assert isinstance(added, OrderedSum)
        (wire,) = added._wires.values()
        return wire.who, reduced(group, added, 0, 100)

    found = answers(meets, "ab")
    assert [who for who, _ in found] == ["rank 1 at ::1", "rank 0 at ::1"]
    assert [bits for _, bits in found] == [in_order(2, 0, 100).tobytes()] * 2


def test_a_proof_is_good_for_one_meeting_and_one_side() -> None:
    secret = handshake.nonce()
    meeting = handshake.Meeting(secret, 2, 1, handshake.nonce(), handshake.nonce())
    meeting.check_answer(meeting.answer())
    meeting.check_proof(meeting.proof())
    its_proof = meeting.answer()[handshake.NONCE_BYTES :]
    others = [
        handshake.Meeting(handshake.nonce(), 2, 1, *nonces_of(meeting)),
        handshake.Meeting(secret, 3, 1, *nonces_of(meeting)),
        handshake.Meeting(secret, 2, 1, handshake.nonce(), meeting.listening_nonce),
        handshake.Meeting(secret, 2, 1, meeting.connecting_nonce, handshake.nonce()),
    ]
    for proof in (its_proof, *(other.proof() for other in others)):
        with pytest.raises(handshake.NotProved):
            meeting.check_proof(proof)


def nonces_of(meeting: handshake.Meeting) -> tuple[bytes, bytes]:
    return meeting.connecting_nonce, meeting.listening_nonce
