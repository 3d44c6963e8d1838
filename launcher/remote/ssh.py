"""SSH through paramiko; only this module and `ssh_login` know it.

`connect(node)` gives a connection, which runs argument lists. What a user has in ~/.ssh/config (as
`ssh -G` reports it) holds where the profile says nothing; keys come from files and the agent. There
are no passwords here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Sequence

import paramiko

from launcher.core.profile.model import Node
from launcher.errors import NodeError
from launcher.remote import ssh_config
from launcher.remote.connection import CommandResult, HostKey, quoted
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.ssh_login import CONNECT_S, log_in, read_user_config
from launcher.remote.ssh_target import MAX_CONNECTING, Target, resolve

BROKEN = (OSError, EOFError, paramiko.SSHException)
"""What paramiko raises on a connection that is broken or closed."""

PACKET_BYTES = 4 << 10
"""Written at once without blocking: a socket that is writable takes this much."""

# Its threads would print tracebacks beside our error message.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_setting_up = threading.BoundedSemaphore(MAX_CONNECTING)


class _Arrival(threading.Event):
    """What paramiko's thread sets when data arrives."""

    def __init__(self, on_data: Callable[[], None]) -> None:
        super().__init__()
        self._on_data = on_data

    def set(self) -> None:
        self._on_data()


class ChannelStream:
    """A running command's stdin and stdout (`Stream`)."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._is_watched = False
        self.is_silent = False

    def silent_after(self, silent_s: float | None) -> None:
        self._channel.settimeout(silent_s)

    @property
    def has_ended(self) -> bool:
        return bool(self._channel.eof_received)

    def read(self, limit: int = 1 << 16) -> bytes:
        self.is_silent = False
        try:
            return self._channel.recv(limit)
        except TimeoutError:
            self.is_silent = True
            return b""
        except BROKEN:
            return b""

    def write(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (EOFError, paramiko.SSHException) as error:
            raise OSError(str(error)) from error

    def watch(self, on_data: Callable[[], None]) -> int | None:
        # A pipe for `select` (`Channel.fileno`) would also be readable for stderr, which is read
        # at the end only.
        self._is_watched = True
        self._channel.settimeout(0.0)
        self._channel.in_buffer.set_event(_Arrival(on_data))
        return None

    def read_now(self, limit: int = 1 << 16) -> bytes:
        channel = self._channel
        if not channel.eof_received and not _takes_packet(channel.get_transport()):
            # Who has read more tells the node so, and that would wait.
            limit = min(limit, channel.in_window_threshold - channel.in_window_sofar)
            if limit <= 0:
                raise BlockingIOError
        try:
            return channel.recv(limit)
        except TimeoutError:
            raise BlockingIOError from None
        except BROKEN:
            return b""

    def write_now(self, data: bytes) -> int:
        if not _takes_packet(self._channel.get_transport()):
            raise BlockingIOError
        try:
            taken = self._channel.send(data[:PACKET_BYTES])
        except TimeoutError:
            raise BlockingIOError from None
        except (EOFError, paramiko.SSHException) as error:
            raise OSError(str(error)) from error
        if not taken:
            raise OSError("the channel is closed")
        return taken

    def end_input(self) -> None:
        if self._is_watched and not _takes_packet(self._channel.get_transport()):
            raise BlockingIOError
        with contextlib.suppress(*BROKEN):
            self._channel.shutdown_write()

    def errors(self) -> str:
        text = b""
        with contextlib.suppress(*BROKEN):
            while self._channel.recv_stderr_ready():
                text += self._channel.recv_stderr(1 << 16)
        return text.decode("utf-8", "replace").strip()

    def close(self) -> None:
        with contextlib.suppress(*BROKEN):
            self._channel.close()


class ParamikoConnection:
    """One SSH connection to a node (`Connection`)."""

    def __init__(self, target: Target, clients: Sequence[paramiko.SSHClient]) -> None:
        self.target = target
        self._clients = clients

    @property
    def node(self) -> str:
        return self.target.node

    @property
    def words(self) -> str:
        return self.target.words

    @property
    def is_open(self) -> bool:
        transport = self._clients[-1].get_transport()
        return transport is not None and transport.is_active()

    def start(self, argv: Sequence[str], silent_s: float | None = None) -> ChannelStream:
        channel = self._channel(argv)
        channel.settimeout(silent_s)
        return ChannelStream(channel)

    def run(
        self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 30.0
    ) -> CommandResult:
        channel = self._channel(argv)
        try:
            channel.settimeout(timeout_s)
            errors: list[bytes] = []
            # Both are read at once: the command would wait for the one that is full.
            reader = threading.Thread(target=_drain_stderr, args=(channel, errors), daemon=True)
            reader.start()
            channel.sendall(stdin)
            channel.shutdown_write()
            output = bytearray()
            while data := channel.recv(1 << 16):
                output += data
            reader.join(timeout_s)
            code = channel.recv_exit_status() if channel.status_event.wait(timeout_s) else -1
            return CommandResult(code, bytes(output), b"".join(errors))
        except TimeoutError as error:
            text = f"{argv[0]} does not answer within {timeout_s:g} s"
            raise NodeError(self.node, f"{self.target.words}: {text}") from error
        except BROKEN as error:
            text = f"{self.target.words}: the connection broke: {error}"
            raise NodeError(self.node, text) from error
        finally:
            channel.close()

    def host_key(self) -> HostKey:
        try:
            key = self._transport().get_remote_server_key()
        except BROKEN as error:
            raise NodeError(self.node, f"{self.target.words}: {error}") from error
        return HostKey(key.get_name(), key.asbytes())

    def tunnel(self, target: Target) -> paramiko.Channel:
        """A channel to the sshd of another host. Raises `NodeError`, and closes the connection."""
        try:
            return self._transport().open_channel(
                "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=CONNECT_S
            )
        except BROKEN as error:
            self.close()
            text = f"{target.words} can't be reached through {self.target.words}: {error}"
            raise NodeError(target.node, text, "Check proxy_jump in the profile.") from error

    def close(self) -> None:
        # Jump hosts first: a tunnel through one that is gone could not be closed.
        for client in self._clients:
            with contextlib.suppress(*BROKEN):
                client.close()

    def _channel(self, argv: Sequence[str]) -> paramiko.Channel:
        try:
            channel = self._transport().open_session(timeout=CONNECT_S)
            channel.exec_command(quoted(argv))
        except BROKEN as error:
            text = f"{self.target.words}: no command can be run there: {error}"
            raise NodeError(self.node, text) from error
        return channel

    def _transport(self) -> paramiko.Transport:
        """Raises `EOFError`."""
        transport = self._clients[-1].get_transport()
        if transport is None:
            raise EOFError("the connection is closed")
        return transport


def connect(node: Node, confirm_host: ConfirmHost | None = None) -> ParamikoConnection:
    """Connects, and verifies who answers. Raises `NodeError`.

    `confirm_host` decides about an unknown host key; without it such a host is refused.
    """
    with _setting_up:
        return _connect(target_of(node), confirm_host, ())


def target_of(node: Node) -> Target:
    """From the profile, then from ~/.ssh/config. Raises `NodeError`."""
    keys = (os.path.expanduser(node.identity_file),) if node.identity_file else ()
    jump = node.proxy_jump
    return resolve(node.label, node.address, node.user, node.port, keys, jump, read_user_config)


def _connect(
    target: Target, confirm_host: ConfirmHost | None, through: tuple[str, ...]
) -> ParamikoConnection:
    """Through its jump hosts first, each of which may have jump hosts of its own."""
    inner: ParamikoConnection | None = None
    sock = None
    if target.jumps:
        *before, last = target.jumps
        if last in through:
            raise NodeError(target.node, f"ProxyJump has a cycle: {last}")
        try:
            user, host, port = ssh_config.split_host(last)
        except ssh_config.ConfigError as error:
            hint = "Write it as user@host:port; an IPv6 address goes in brackets."
            raise NodeError(target.node, f"proxy_jump: {error}", hint) from error
        rest = ",".join(before)
        jump = resolve(target.node, host, user, port or 22, (), rest, read_user_config)
        inner = _connect(jump, confirm_host, (*through, last))
        sock = inner.tunnel(target)
    client = paramiko.SSHClient()
    connection = ParamikoConnection(target, (*(inner._clients if inner else ()), client))
    try:
        log_in(client, target, sock, confirm_host)
    except BaseException:
        connection.close()
        raise
    return connection


def _takes_packet(transport: paramiko.Transport) -> bool:
    """Whether a packet goes out without waiting.

    paramiko waits where new keys are being negotiated, and where the system takes no more for a
    node that is gone.
    """
    if not transport.is_active():
        return True  # it waits for nothing any more
    if not transport.clear_to_send.is_set():
        return False
    sock = transport.sock
    if isinstance(sock, paramiko.Channel):  # through a jump host
        is_open = sock.closed or sock.out_window_size > 2 * PACKET_BYTES
        return is_open and _takes_packet(sock.get_transport())
    poll = select.poll()
    try:
        poll.register(sock, select.POLLOUT)
    except ValueError:
        return True  # closed
    return bool(poll.poll(0))


def _drain_stderr(channel: paramiko.Channel, into: list[bytes]) -> None:
    with contextlib.suppress(*BROKEN):
        while data := channel.recv_stderr(1 << 16):
            into.append(data)
