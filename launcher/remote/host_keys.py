"""Whether a host is the one that it was: known keys, and what to say about others."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from launcher.errors import HostKeyError

ConfirmHost = Callable[[str], bool]
"""A question for the person at the terminal -> whether the answer was yes."""

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")


def user_file() -> Path:
    return Path(os.path.expanduser("~/.ssh/known_hosts"))


def host_name(address: str, port: int) -> str:
    """What known_hosts calls a host."""
    return address if port == 22 else f"[{address}]:{port}"


def fingerprint(key: bytes) -> str:
    """As OpenSSH prints it: `SHA256:…`, of a public key's bytes."""
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def accept_unknown(
    node: str, host: str, key_type: str, key: bytes, confirm_host: ConfirmHost | None
) -> None:
    """Asks about a host that nobody knows, and notes it.

    Raises `HostKeyError` on no, or no answer.
    """
    print_ = fingerprint(key)
    what = f"the host key of {host} is not known: {key_type} {print_}"
    if confirm_host is None:
        raise HostKeyError(
            node,
            what,
            f"Compare the fingerprint, then log in once by hand (ssh {_ssh_words(host)}), or start"
            " from a terminal, which asks.",
        )
    if not confirm_host(f"{node}: {what}\nIs this the right host?"):
        raise HostKeyError(node, f"{what}, and it was not accepted")
    line = f"{host} {key_type} {base64.b64encode(key).decode()}\n"
    path = user_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
        file.write(line)


def changed(node: str, host: str, expected: bytes, got: bytes) -> HostKeyError:
    """A host with another key than before: somebody else's machine, or a new installation."""
    return HostKeyError(
        node,
        f"the host key of {host} has changed: known {fingerprint(expected)},"
        f" now {fingerprint(got)}",
        "Somebody may be listening in. If the machine was reinstalled:"
        f" ssh-keygen -R '{host}', then start again.",
    )


def revoked(node: str, host: str, key: bytes) -> HostKeyError:
    """A host whose key known_hosts marks as `@revoked`."""
    return HostKeyError(
        node,
        f"the host key of {host} is revoked in known_hosts: {fingerprint(key)}",
        "Somebody may have copied it: give the machine a new host key.",
    )


def _ssh_words(host: str) -> str:
    if host.startswith("["):
        address, _, port = host[1:].partition("]:")
        return f"-p {port} {address}"
    return host


def print_of(key_base64: str) -> str:
    """The fingerprint of a key as known_hosts writes it."""
    return fingerprint(base64.b64decode(key_base64))
