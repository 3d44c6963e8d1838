"""A FIDO key for the ssh program: ours at the place of the device, and a test touches it."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SOURCE = Path(__file__).with_name("security_key.c")
VERSIONS = ("0x000a0000", "0x00090000")
"""Of what ssh loads (its sk-api.h): since OpenSSH 9, and before it."""
COUNTER = (1).to_bytes(4, "big")
LIMIT_S = 120


class SecurityKey:
    """`signed`: how often it was touched to log in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = folder / "provider.so"
        self.identity = folder / "id_fido"
        self.signed = 0
        self._key = Ed25519PrivateKey.generate()
        self._touch = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "device"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def touch(self, _terminal: int = -1) -> None:
        self._touch.set()

    def enroll(self) -> None:
        """Writes the identity's two files, as ssh-keygen does with a real key."""
        for version in VERSIONS:
            defines = (f"-DVERSION={version}", f'-DDEVICE="{self.folder}/device"')
            argv = ["cc", "-shared", "-fPIC", *defines, str(SOURCE), "-o", str(self.provider)]
            subprocess.run(argv, check=True)
            self.touch()
            argv = ["ssh-keygen", "-q", "-t", "ed25519-sk", "-N", "", "-w", str(self.provider)]
            done = subprocess.run([*argv, "-f", str(self.identity)], capture_output=True, text=True)
            if not done.returncode:
                return
        raise AssertionError(done.stderr)

    def close(self) -> None:
        self.touch()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                peer, _ = self._listener.accept()
                with peer, peer.makefile("rw") as lines, suppress(ValueError, OSError):
                    lines.write(self._answered(lines.readline().split()).hex())
                    lines.flush()

    def _answered(self, request: list[str]) -> bytes:
        if not self._touch.wait(LIMIT_S):
            raise TimeoutError("nobody has touched it")
        self._touch.clear()
        if request[0] == "enroll":
            return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        flags, application, data = int(request[1]), *map(bytes.fromhex, request[2:])
        self.signed += 1
        digests = [hashlib.sha256(text).digest() for text in (application, data)]
        return self._key.sign(digests[0] + bytes([flags]) + COUNTER + digests[1])


@contextmanager
def security_key(folder: Path) -> Iterator[SecurityKey]:
    """One that has made its identity. `folder`: a short path, for a socket."""
    key = SecurityKey(folder)
    try:
        key.enroll()
        yield key
    finally:
        key.close()
