"""Two ranks prove to each other that they know the run's secret, without sending it.

1. The rank that connects sends its number and random bytes.
2. The one that listens answers with random bytes of its own and a proof over both.
3. The first sends its proof.

A proof is an HMAC of the two ranks, the random bytes and who proves, so none can be used again.
Whoever cannot read the connections between the ranks can neither join nor get a rank to talk.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass

SECRET_BYTES = 32
NONCE_BYTES = 32
PROOF_BYTES = 32
_HELLO = struct.Struct(f"!8sI{NONCE_BYTES}s")
HELLO_BYTES = _HELLO.size
ANSWER_BYTES = NONCE_BYTES + PROOF_BYTES
_MAGIC = b"effnet\0\1"


class NotProved(ConnectionError):
    """The other side is no rank of this run."""


def nonce() -> bytes:
    """Random bytes, for one connection."""
    return secrets.token_bytes(NONCE_BYTES)


def hello(rank: int, own: bytes) -> bytes:
    """What the rank that connects sends first."""
    return _HELLO.pack(_MAGIC, rank, own)


def read_hello(message: bytes) -> tuple[int, bytes]:
    """-> the rank that it says it is, and its random bytes. Raises `NotProved`."""
    magic, rank, its = _HELLO.unpack(message)
    if magic != _MAGIC:
        raise NotProved("it does not talk as a rank does")
    return rank, its


@dataclass(frozen=True)
class Meeting:
    """What two ranks know of each other when both have sent their random bytes."""

    secret: bytes
    connecting: int
    listening: int
    connecting_nonce: bytes
    listening_nonce: bytes

    def answer(self) -> bytes:
        """Of the listening rank."""
        return self.listening_nonce + self._proof(b"listening")

    def check_answer(self, message: bytes) -> None:
        """Raises `NotProved`."""
        self._check(b"listening", message[NONCE_BYTES:])

    def proof(self) -> bytes:
        """Of the connecting rank."""
        return self._proof(b"connecting")

    def check_proof(self, message: bytes) -> None:
        """Raises `NotProved`."""
        self._check(b"connecting", message)

    def _check(self, side: bytes, found: bytes) -> None:
        if not hmac.compare_digest(self._proof(side), found):
            raise NotProved("it does not know the run's secret")

    def _proof(self, side: bytes) -> bytes:
        ranks = struct.pack("!II", self.connecting, self.listening)
        text = b"".join((side, ranks, self.connecting_nonce, self.listening_nonce))
        return hmac.new(self.secret, text, hashlib.sha256).digest()
