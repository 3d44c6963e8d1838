"""Host keys: unknown ones are confirmed and stored, changed and revoked ones refused."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from launcher.errors import HostKeyError

ConfirmHost = Callable[[str], bool]
"""Asks the person at the terminal a question. -> whether the answer was yes."""

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")

ASKING = threading.Lock()
"""Held while a person is asked: one question at a time."""


def user_file() -> Path:
    return Path(os.path.expanduser("~/.ssh/known_hosts"))


def host_name(address: str, port: int) -> str:
    """The name of a host in known_hosts."""
    return address if port == 22 else f"[{address}]:{port}"


def fingerprint(key: bytes) -> str:
    """As OpenSSH prints it: `SHA256:…`, of a public key's bytes."""
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def accept_unknown(
    node: str, host: str, key_type: str, key: bytes, confirm_host: ConfirmHost | None
) -> None:
    """Asks about an unknown host, one at a time, and adds its key to known_hosts.

    Raises `HostKeyError` when it is not accepted, or nobody can be asked.
    """
    what = f"the host key of {host} is not known: {key_type} {fingerprint(key)}"
    if confirm_host is None:
        raise HostKeyError(
            node,
            what,
            f"Compare the fingerprint, then log in once by hand (ssh {_ssh_words(host)}), or start"
            " from a terminal, which asks.",
        )
    with ASKING:
        if not confirm_host(f"{node}: {what}\nIs this the right host?"):
            raise HostKeyError(node, f"{what}, and it was not accepted")
    line = f"{host} {key_type} {base64.b64encode(key).decode()}\n"
    path = user_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
        file.write(line)


def changed(node: str, host: str, expected: bytes, got: bytes) -> HostKeyError:
    """A host with another key than before: another machine, or a new installation."""
    return HostKeyError(
        node,
        f"the host key of {host} has changed: known {fingerprint(expected)},"
        f" now {fingerprint(got)}",
        changed_hint(host),
    )


def changed_hint(host: str) -> str:
    """What to do then; `host` is its name in known_hosts."""
    return (
        "Another machine may be impersonating it. If the machine was reinstalled:"
        f" ssh-keygen -R '{host}', then start again."
    )


def revoked(node: str, host: str, key: bytes) -> HostKeyError:
    """A host whose key known_hosts marks as `@revoked`."""
    return HostKeyError(
        node,
        f"the host key of {host} is revoked in known_hosts: {fingerprint(key)}",
        "The key may have been stolen: create a new host key on the machine.",
    )


def _ssh_words(host: str) -> str:
    address, _, port = host.removeprefix("[").partition("]:")
    return f"-p {port} {address}" if port else host
