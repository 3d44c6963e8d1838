"""A socket of this machine, reached from another one: a TCP port that asks for the run's secret.

Both sides prove that they know the secret (HMAC-SHA256 of the other's challenge), which itself is
never sent. Then the gate passes bytes between the connection and the Unix socket.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import select
import socket
import threading
from collections.abc import Callable

CHALLENGE_BYTES = 32
PROOF_BYTES = hashlib.sha256().digest_size
HANDSHAKE_LIMIT_S = 5.0
MAX_CONNECTIONS = 64
BLOCK_BYTES = 1 << 16


class Gate:
    """Listens until the process ends. `target`: the path of the Unix socket, at any time."""

    def __init__(self, secret: str, target: Callable[[], str]) -> None:
        self._secret = secret
        self._target = target
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listener = socket.create_server(("", 0), backlog=MAX_CONNECTIONS)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="gate", daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(HANDSHAKE_LIMIT_S)
            challenge = os.urandom(CHALLENGE_BYTES)
            connection.sendall(challenge)
            answer = _exactly(connection, PROOF_BYTES + CHALLENGE_BYTES)
            if hmac.compare_digest(answer[:PROOF_BYTES], _proof(self._secret, b"c", challenge)):
                connection.sendall(_proof(self._secret, b"s", answer[PROOF_BYTES:]))
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
                    inner.connect(self._target())
                    connection.settimeout(None)
                    _pass_on(connection, inner)
        self._places.release()


def connect(host: str, port: int, secret: str) -> socket.socket:
    """A connection to the socket behind the gate. Raises `OSError`."""
    connection = socket.create_connection((host, port), HANDSHAKE_LIMIT_S)
    try:
        challenge = _exactly(connection, CHALLENGE_BYTES)
        own = os.urandom(CHALLENGE_BYTES)
        connection.sendall(_proof(secret, b"c", challenge) + own)
        if not hmac.compare_digest(_exactly(connection, PROOF_BYTES), _proof(secret, b"s", own)):
            raise ConnectionError("the other side does not know the run's secret")
    except OSError:
        connection.close()
        raise
    return connection


def _proof(secret: str, side: bytes, challenge: bytes) -> bytes:
    return hmac.new(secret.encode(), side + challenge, hashlib.sha256).digest()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = connection.recv(count - len(data))
        if not block:
            raise ConnectionError("the connection ended")
        data += block
    return data


def _pass_on(one: socket.socket, two: socket.socket) -> None:
    """Until either side ends. A side that does not read makes the other one wait."""
    other = {one: two, two: one}
    while True:
        for source in select.select([one, two], [], [])[0]:
            data = source.recv(BLOCK_BYTES)
            if not data:
                return
            other[source].sendall(data)
