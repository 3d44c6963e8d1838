"""Calls to `launcher.node` over SSH: one request, one reply."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from launcher import programs
from launcher.core.profile.model import OPENSSH, Node, Profile
from launcher.core.text.codec import Mismatch, convert, from_plain
from launcher.core.text.records import encode
from launcher.errors import NodeError, NotInstalledError
from launcher.ipc.operations import Message, Operation, Refusal
from launcher.remote.connection import Connection, Stream
from launcher.remote.frames import FrameReader
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.ssh_target import MAX_CONNECTING

if TYPE_CHECKING:
    from launcher.remote.openssh.login import Login

R = TypeVar("R")

REUSE_S = 2.0
"""A process of a node gets another request within this time: it ends after `NEXT_REQUEST_S`."""

LOGIN_FIELDS = (
    "label",
    "address",
    "port",
    "user",
    "python",
    "identity_file",
    "proxy_jump",
    "transport",
)
"""Fields of a node that need a connection of their own when they differ."""

OnMessage = Callable[[Message], object]
"""Gets `file` and `progress` messages that come before a reply."""


class NodeClient:
    """One node, connected when it is first needed. Thread-safe."""

    def __init__(self, node: Node, confirm_host: ConfirmHost | None = None) -> None:
        self.node = node
        self._confirm_host = confirm_host
        self._connection: Connection | None = None
        self._login: Login | None = None
        self._idle: tuple[Stream, float] | None = None
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        return self.node.label

    def connection(self) -> Connection:
        """Raises `NodeError`."""
        with self._lock:
            if self._connection is None or not self._connection.is_open:
                self._close()
                self._connection = self._connect()
            return self._connection

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        with self._lock:
            self._close()

    def call(
        self, operation: Operation[R], on_message: OnMessage | None = None, silent_s: float = 60.0
    ) -> R:
        """One request. -> its reply. Raises `NodeError`; `RefusedError` when the node replied."""
        call = self.start(operation, silent_s)
        try:
            reply = call.reply(on_message)
        except BaseException:
            call.stream.close()
            raise
        self._keep(call.stream)
        return reply

    @contextlib.contextmanager
    def open(self, operation: Operation[R], silent_s: float) -> Iterator[Call[R]]:
        """Sends a request. A stream on which nothing comes for `silent_s` is at its end."""
        call = self.start(operation, silent_s)
        try:
            yield call
        except BaseException:
            call.stream.close()
            raise
        if call.is_ok:
            self._keep(call.stream)
        else:
            call.stream.close()

    def start(self, operation: Operation[R], silent_s: float) -> Call[R]:
        """The same; the caller closes the stream."""
        if (idle := self._take_idle()) is not None:
            idle.silent_after(silent_s)
            try:
                call = self._sent(operation, idle)
                if call.frames.read_mark():
                    return call
                raise call.failed("the connection ended before the reply")
            except NodeError:
                idle.close()
                # Without its end, the process may have read the request: it is not sent twice.
                if not idle.has_ended:
                    raise
        argv = programs.command(programs.NODE, self.node.python or "python3")
        stream = self.connection().start(argv, silent_s)
        try:
            return self._sent(operation, stream)
        except NodeError:
            stream.close()  # its process ended before it could read
            raise

    def _sent(self, operation: Operation[R], stream: Stream) -> Call[R]:
        mark = f"effnet-{secrets.token_hex(8)}"
        call = Call(self.node, operation, stream, FrameReader(self.label, stream, mark))
        try:
            stream.write(request_line(operation, mark))
        except OSError as error:
            raise call.failed(str(error)) from error
        return call

    def _keep(self, stream: Stream) -> None:
        """For the next request: a new process there would spend most of its time on imports."""
        stream.silent_after(REUSE_S)
        with self._lock:
            unused, self._idle = self._idle, (stream, time.monotonic())
        if unused is not None:
            unused[0].close()

    def _take_idle(self) -> Stream | None:
        """A stream whose process waits for another request."""
        with self._lock:
            found, self._idle = self._idle, None
        if found is None:
            return None
        stream, since = found
        if time.monotonic() - since < REUSE_S:
            return stream
        stream.close()
        return None

    def _connect(self) -> Connection:
        # A run on this machine alone should not pay for the import of paramiko (0.2 s).
        if self.node.transport == OPENSSH:
            from launcher.remote.openssh.login import Login

            # It knows what was refused before.
            self._login = self._login or Login(self.node)
            return self._login.connect(self._confirm_host)
        from launcher.remote import ssh

        return ssh.connect(self.node, self._confirm_host)

    def _close(self) -> None:
        if self._idle is not None:
            self._idle[0].close()
            self._idle = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Call(Generic[R]):
    """A request that was sent to a node."""

    def __init__(
        self, node: Node, operation: Operation[R], stream: Stream, frames: FrameReader
    ) -> None:
        self.stream = stream
        self.frames = frames
        self._node = node
        self._operation = operation
        self._reply: R
        self.is_ok = False
        """Whether the reply has come, and is none of an error."""

    def messages(self) -> Iterator[Message]:
        """Everything before the reply. Raises `NodeError`."""
        while (frame := self.frames.read()) is not None:
            if frame.message.get("type") == "reply":
                self._reply = read_reply(self._node.label, self._operation, frame.message)
                self.is_ok = True
                return
            yield frame.message
        raise self.failed("the connection ended before the reply")

    def reply(self, on_message: OnMessage | None = None) -> R:
        """Raises `NodeError`."""
        for message in self.messages():
            if on_message is not None and message.get("type") in ("file", "progress"):
                on_message(message)
        return self._reply

    def failed(self, why: str) -> NodeError:
        """Why a request ended without a reply, as far as stderr shows it."""
        if self.stream.is_silent:
            why = "nothing came from it in time: the node hangs, or starts Python slowly"
        return no_reply(self._node, self.stream.errors(), why)


class RefusedError(NodeError):
    """The node replied that the operation failed."""

    def __init__(self, node: str, refusal: Refusal) -> None:
        is_of_other = refusal.node not in ("", node)
        text = f"{refusal.node}: {refusal.error}" if is_of_other else refusal.error
        super().__init__(node, text, refusal.hint)
        self.refusal = refusal


def request_line(operation: Operation[Any], mark: str) -> bytes:
    return json.dumps({"mark": mark, **encode(operation)}).encode() + b"\n"


def read_reply(node: str, operation: Operation[R], message: Message) -> R:
    """Raises `RefusedError`, and `NotInstalledError` for a reply of another version."""
    try:
        if message.get("ok"):
            reply: R = convert(operation.reply_type(), message.get("value"), "reply")
            return reply
        refusal = from_plain(Refusal, message)
    except Mismatch as error:
        raise NotInstalledError(
            node,
            f"this version does not understand its reply to {operation.kind}: {error}",
            "Install the same version of effnet-tui there.",
            "launcher",
        ) from error
    raise RefusedError(node, refusal)


def no_reply(node: Node, errors: str, why: str) -> NodeError:
    """The error of a `launcher.node` that ended, with `errors` on its stderr."""
    label, python = node.label, node.python or "python3"
    if missing := re.findall(r"No module named '?([\w.]+)", errors):
        return NotInstalledError(
            label,
            f"{python} there has no module {missing[-1]}",
            "Install effnet-tui for it on that node, or name another `python`.",
            missing[-1],
        )
    if "not found" in errors or "No such file" in errors:
        return NotInstalledError(label, f"there is no {python} there", "Set `python`.")
    last = errors.splitlines()[-1] if errors else why
    return NodeError(label, f"{python} -m {programs.NODE} ended: {last}")


class NodePool:
    """The nodes of one action, each connected once, when it is first called. Thread-safe."""

    def __init__(self, confirm_host: ConfirmHost | None = None) -> None:
        self._confirm_host = confirm_host
        self._clients: dict[tuple[str | int, ...], NodeClient] = {}
        self._lock = threading.Lock()

    def client(self, node: Node) -> NodeClient:
        key = tuple(getattr(node, name) for name in LOGIN_FIELDS)
        with self._lock:
            return self._clients.setdefault(key, NodeClient(node, self._confirm_host))

    def clients_of(self, profile: Profile) -> dict[str, NodeClient]:
        """Those of a profile that only SSH reaches, by name."""
        return {node.label: self.client(node) for node in profile.nodes if not node.is_local}

    def __enter__(self) -> NodePool:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()


def call_all(clients: Mapping[str, NodeClient], call: Callable[[NodeClient], R]) -> dict[str, R]:
    """Calls all nodes at once. Raises `NodeError` with the error of each of them."""
    if not clients:
        return {}
    with ThreadPoolExecutor(min(MAX_CONNECTING, len(clients))) as pool:
        futures = {label: pool.submit(call, client) for label, client in clients.items()}
    errors = [e for f in futures.values() if isinstance(e := f.exception(), NodeError)]
    if len(errors) > 1:
        first, *others = errors
        text = "\n".join([first.message, *map(str, others)])
        raise NodeError(first.node, text, first.hint)
    return {label: future.result() for label, future in futures.items()}
