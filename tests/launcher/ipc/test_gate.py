"""The gate lets in who knows the run's secret, and nobody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.ipc import gate


@pytest.fixture
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a gate before a socket that sends back what it gets."""
    path = Path("/tmp") / f"{tmp_path_factory.mktemp('gate').name}-{id(object())}.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def echo() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    opened = gate.Gate("secret", lambda: str(path))
    yield opened.port
    opened.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    path.unlink()


def test_bytes_pass_both_ways_for_one_who_knows_the_secret(port: int) -> None:
    with gate.connect("127.0.0.1", port, "secret") as connection:
        connection.settimeout(10)
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"


def test_another_secret_is_refused(port: int) -> None:
    with pytest.raises(OSError, match=r"ended|reset"):
        gate.connect("127.0.0.1", port, "another")


def test_a_gate_that_does_not_know_the_secret_is_refused() -> None:
    """Nor does it learn anything that another gate would take."""
    with socket.create_server(("127.0.0.1", 0)) as false:

        def answer() -> None:
            connection, _ = false.accept()
            with connection:
                connection.sendall(bytes(gate.CHALLENGE_BYTES))
                connection.recv(100)
                connection.sendall(bytes(gate.PROOF_BYTES))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(OSError, match="does not know"):
            gate.connect("127.0.0.1", false.getsockname()[1], "secret")
        thread.join(10)
