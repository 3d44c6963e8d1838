"""SSH through paramiko, and the only module that knows it.

`connect(node)` gives a `Connection`, which runs argument lists. What a user has in ~/.ssh/config
(HostName, User, Port, IdentityFile, IdentitiesOnly, ProxyJump) holds
where the profile says nothing; keys come from files and the agent. There are no passwords here.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shlex
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import paramiko

from launcher.core.profile.model import Node
from launcher.errors import LoginError, NodeError
from launcher.remote import host_keys
from launcher.remote.host_keys import ConfirmHost

CONNECT_S = 10.0
KEEPALIVE_S = 15
MAX_SETTING_UP = 32
"""Connections that are being set up at a time: sshd drops more (MaxStartups)."""

# Its threads would print their tracebacks beside the error that says the same in words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_setting_up = threading.BoundedSemaphore(MAX_SETTING_UP)


@dataclass(frozen=True)
class Target:
    """Where a node's sshd is, after ~/.ssh/config."""

    node: str
    host: str
    port: int
    user: str
    keys: tuple[str, ...] = ()
    only_these_keys: bool = False
    jumps: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Result:
    """How a command ended; output as it came."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Stream:
    """A running command's stdin and stdout. Reading and writing block; one thread each."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def silent_after(self, silent_s: float | None) -> None:
        """It is at its end when nothing comes for this long, or nothing is taken."""
        self._channel.settimeout(silent_s)

    def read(self, limit: int = 1 << 16) -> bytes:
        """Empty at the end, however it came."""
        try:
            return self._channel.recv(limit)
        except (OSError, EOFError, paramiko.SSHException):
            return b""

    def write(self, data: bytes) -> None:
        """Raises `OSError`."""
        try:
            self._channel.sendall(data)
        except (EOFError, paramiko.SSHException) as error:
            raise OSError(str(error)) from error

    def end_input(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()

    def errors(self) -> str:
        """What came on stderr so far."""
        text = b""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while self._channel.recv_stderr_ready():
                text += self._channel.recv_stderr(1 << 16)
        return text.decode("utf-8", "replace").strip()

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


class Connection:
    """One SSH connection to a node. Thread-safe."""

    def __init__(self, target: Target, clients: Sequence[paramiko.SSHClient]) -> None:
        self.target = target
        self._clients = clients

    @property
    def node(self) -> str:
        return self.target.node

    @property
    def is_open(self) -> bool:
        transport = self._clients[-1].get_transport()
        return transport is not None and transport.is_active()

    def start(self, argv: Sequence[str], silent_s: float | None = None) -> Stream:
        """Starts a command without a terminal. Raises `NodeError`.

        A stream that says or takes nothing for `silent_s` is at its end.
        """
        channel = self._channel(argv)
        channel.settimeout(silent_s)
        return Stream(channel)

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 30.0) -> Result:
        """Runs a command to its end. Raises `NodeError` when the connection does not hold."""
        channel = self._channel(argv)
        try:
            channel.settimeout(timeout_s)
            errors: list[bytes] = []
            # Both are read at once: a full one of them would hold the command up.
            reader = threading.Thread(target=_drain_stderr, args=(channel, errors), daemon=True)
            reader.start()
            channel.sendall(stdin)
            channel.shutdown_write()
            output = bytearray()
            while data := channel.recv(1 << 16):
                output += data
            reader.join(timeout_s)
            code = channel.recv_exit_status() if channel.status_event.wait(timeout_s) else -1
            return Result(code, bytes(output), b"".join(errors))
        except TimeoutError as error:
            text = f"{argv[0]} does not answer within {timeout_s:g} s"
            raise NodeError(self.node, f"{self.target.words}: {text}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            text = f"{self.target.words}: the connection broke: {error}"
            raise NodeError(self.node, text) from error
        finally:
            channel.close()

    def host_key(self) -> tuple[str, str]:
        """(type, base64) of the key that the host has shown and that was verified."""
        transport = self._clients[-1].get_transport()
        if transport is None:
            raise NodeError(self.node, f"{self.target.words}: the connection is closed")
        key = transport.get_remote_server_key()
        return key.get_name(), key.get_base64()

    def close(self) -> None:
        for client in reversed(self._clients):
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                client.close()

    def _channel(self, argv: Sequence[str]) -> paramiko.Channel:
        transport = self._clients[-1].get_transport()
        try:
            if transport is None:
                raise EOFError("it is closed")
            channel = transport.open_session(timeout=CONNECT_S)
            channel.exec_command(quoted(argv))
        except (OSError, EOFError, paramiko.SSHException) as error:
            text = f"{self.target.words}: nothing can be run there: {error}"
            raise NodeError(self.node, text) from error
        return channel


def quoted(argv: Sequence[str]) -> str:
    """The one place where an argument list becomes what sshd's shell reads."""
    return shlex.join(argv)


def connect(node: Node, confirm_host: ConfirmHost | None = None) -> Connection:
    """Connects, and verifies who answers. Raises `NodeError`.

    `confirm_host` is asked about an unknown host key; without it such a host is refused.
    """
    with _setting_up:
        return _connect(target_of(node), confirm_host, ())


def target_of(node: Node) -> Target:
    """What profile and ~/.ssh/config say together; the profile wins. Raises `NodeError`."""
    keys = (os.path.expanduser(node.identity_file),) if node.identity_file else ()
    jump = node.proxy_jump
    return _target(node.label, node.address, node.user, node.port, keys, jump)


def _target(
    label: str, address: str, user: str, port: int, keys: tuple[str, ...], jump: str
) -> Target:
    try:
        config = _user_config().lookup(address)
    except paramiko.SSHException as error:
        raise NodeError(label, f"~/.ssh/config: {error}") from error
    jump = jump or config.get("proxyjump", "")
    files = keys or tuple(os.path.expanduser(name) for name in config.get("identityfile", ()))
    return Target(
        node=label,
        host=config.get("hostname", address),
        port=port if port != 22 else int(config.get("port", "22")),
        user=user or config.get("user", "") or getpass.getuser(),
        keys=tuple(name for name in files if os.path.exists(name)) if not keys else files,
        only_these_keys=bool(keys) or config.get("identitiesonly", "no") == "yes",
        jumps=() if jump in ("", "none") else tuple(jump.split(",")),
    )


def _user_config() -> paramiko.SSHConfig:
    path = os.path.expanduser("~/.ssh/config")
    if not os.path.exists(path):
        return paramiko.SSHConfig()
    return paramiko.SSHConfig.from_path(path)


def _connect(
    target: Target, confirm_host: ConfirmHost | None, through: tuple[str, ...]
) -> Connection:
    """Through its jump hosts first, each of which may have jump hosts of its own."""
    clients: list[paramiko.SSHClient] = []
    sock = None
    if target.jumps:
        *before, last = target.jumps
        if last in through:
            raise NodeError(target.node, f"ProxyJump goes in a circle: {last}")
        user, _, rest = last.rpartition("@")
        host, _, port = rest.partition(":")
        jump = _target(target.node, host, user, int(port or 22), (), ",".join(before))
        inner = _connect(jump, confirm_host, (*through, last))
        clients += inner._clients
        transport = clients[-1].get_transport()
        try:
            assert transport is not None
            sock = transport.open_channel(
                "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=CONNECT_S
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            inner.close()
            text = f"{target.words} can't be reached through {jump.words}: {error}"
            raise NodeError(target.node, text, "Check proxy_jump in the profile.") from error
    client = paramiko.SSHClient()
    try:
        _load_host_keys(client)
        client.set_missing_host_key_policy(_Policy(target, confirm_host))
        _log_in(client, target, sock)
    except BaseException:
        client.close()
        for outer in reversed(clients):
            outer.close()
        raise
    return Connection(target, (*clients, client))


def _log_in(client: paramiko.SSHClient, target: Target, sock: Any) -> None:
    where = target.words
    try:
        client.connect(
            target.host,
            port=target.port,
            username=target.user,
            # Several are taken, whatever the types of paramiko say.
            key_filename=cast(str, list(target.keys)) if target.keys else None,
            look_for_keys=not target.only_these_keys,
            timeout=CONNECT_S,
            banner_timeout=CONNECT_S,
            auth_timeout=CONNECT_S,
            sock=sock,
        )
    except paramiko.BadHostKeyException as error:
        name = host_keys.host_name(target.host, target.port)
        raise host_keys.changed(
            target.node, name, error.expected_key.asbytes(), error.key.asbytes()
        ) from error
    except paramiko.PasswordRequiredException as error:
        hint = "Load it into an agent: ssh-add."
        raise LoginError(target.node, f"{where}: a key has a passphrase: {error}", hint) from error
    except paramiko.AuthenticationException as error:
        raise _no_key(target) from error
    except socket.gaierror as error:
        hint = "Check the address in the profile, or HostName in ~/.ssh/config."
        raise NodeError(target.node, f"{target.host} has no address: {error}", hint) from error
    except (TimeoutError, paramiko.ssh_exception.NoValidConnectionsError, OSError) as error:
        hint = "Is the machine up, is its sshd running, is a firewall between?"
        raise NodeError(target.node, f"{where} can't be reached: {_cause(error)}", hint) from error
    except (paramiko.SSHException, EOFError, ValueError) as error:
        if "No authentication methods" in str(error):
            raise _no_key(target) from error
        hint = (
            "Is that sshd's port? Another program seems to listen there."
            if "banner" in str(error)
            else ""
        )
        raise NodeError(target.node, f"{where}: {error or 'it hangs up'}", hint) from error
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE_S)


def _no_key(target: Target) -> LoginError:
    return LoginError(
        target.node,
        f"{target.words} takes none of your keys",
        f"Try `ssh -p {target.port} {target.user}@{target.host}`; ssh-copy-id installs a key.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        texts = {getattr(cause, "strerror", None) or str(cause) for cause in error.errors.values()}
        return "; ".join(sorted(texts))
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    return str(error)


def _load_host_keys(client: paramiko.SSHClient) -> None:
    for path in (host_keys.SYSTEM_FILE, host_keys.user_file()):
        with contextlib.suppress(OSError):
            client.load_system_host_keys(str(path))


def _drain_stderr(channel: paramiko.Channel, into: list[bytes]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := channel.recv_stderr(1 << 16):
            into.append(data)


class _Policy(paramiko.MissingHostKeyPolicy):
    """Refuses, or asks the person at the terminal."""

    def __init__(self, target: Target, confirm_host: ConfirmHost | None) -> None:
        self._target = target
        self._confirm_host = confirm_host

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        host_keys.accept_unknown(
            self._target.node, hostname, key.get_name(), key.asbytes(), self._confirm_host
        )
