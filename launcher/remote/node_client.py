"""Asking a node something through SSH: one request to `launcher.node`, one reply."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from launcher import programs
from launcher.core.profile.model import Node, Profile
from launcher.errors import NodeError, NotInstalledError
from launcher.ipc.channel import Message
from launcher.remote import ssh
from launcher.remote.frames import FrameReader
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.ssh import Connection, Stream

OnMessage = Callable[[Message], object]
"""Gets `file` and `progress` messages that come before a reply."""


class NodeClient:
    """One node, connected when it is first needed. Thread-safe."""

    def __init__(self, node: Node, confirm_host: ConfirmHost | None = None) -> None:
        self.node = node
        self._confirm_host = confirm_host
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        return self.node.label

    def connection(self) -> Connection:
        """Raises `NodeError`."""
        with self._lock:
            if self._connection is None or not self._connection.is_open:
                self._close()
                self._connection = ssh.connect(self.node, self._confirm_host)
            return self._connection

    def close(self) -> None:
        """Closes the connection; the next question opens another."""
        with self._lock:
            self._close()

    def call(
        self,
        operation: str,
        on_message: OnMessage | None = None,
        silent_s: float = 60.0,
        **fields: Any,
    ) -> Message:
        """One question. -> the reply, whose `ok` may be false. Raises `NodeError`."""
        stream, frames = self.open_stream(operation, silent_s, **fields)
        try:
            reply = self.reply(stream, frames, on_message)
        finally:
            stream.close()
        return reply

    def open_stream(
        self, operation: str, silent_s: float, **fields: Any
    ) -> tuple[Stream, FrameReader]:
        """Sends a request. A stream that says nothing for `silent_s` is at its end."""
        mark = f"effnet-{secrets.token_hex(8)}"
        stream = self.connection().start(
            [self.node.python or "python3", "-m", programs.NODE], silent_s
        )
        request = {"mark": mark, "op": operation, **fields}
        try:
            stream.write(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self.failed(stream, str(error)) from error
        return stream, FrameReader(self.label, stream, mark)

    def reply(
        self, stream: Stream, frames: FrameReader, on_message: OnMessage | None = None
    ) -> Message:
        """The reply to a request. Raises `NodeError`."""
        while (frame := frames.read()) is not None:
            kind = frame.message.get("type")
            if kind == "reply":
                return frame.message
            if on_message is not None and kind in ("file", "progress"):
                on_message(frame.message)
        raise self.failed(stream, "")

    def raise_for_reply(self, reply: Message) -> Message:
        """The reply. Raises `NodeError` when it says that it went wrong."""
        if not reply.get("ok"):
            error, node = str(reply.get("error", "it refused")), str(reply.get("node") or "")
            error = f"{node}: {error}" if node not in ("", self.label) else error
            raise NodeError(self.label, error, str(reply.get("hint", "")))
        return reply

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def failed(self, stream: Stream, why: str) -> NodeError:
        """Why a request ended without a reply, as far as can be told."""
        python = self.node.python or "python3"
        errors = stream.errors()
        if missing := missing_module(errors):
            return NotInstalledError(
                self.label,
                f"{python} there has no module {missing}",
                "Install effnet-tui for it on that node, or name another `python`.",
                missing,
            )
        if "not found" in errors or "No such file" in errors:
            return NotInstalledError(self.label, f"there is no {python} there", "Set `python`.")
        last = errors.splitlines()[-1] if errors else why or "it said nothing"
        return NodeError(self.label, f"{python} -m {programs.NODE} ended: {last}")


def missing_module(errors: str) -> str:
    """The module that Python did not find, by what it said on stderr; empty when it is not that."""
    found = re.findall(r"No module named '?([\w.]+)", errors)
    return found[-1] if found else ""


class NodePool:
    """The nodes of one action, each connected once, when it is first called. Thread-safe."""

    def __init__(self, confirm_host: ConfirmHost | None = None) -> None:
        self._confirm_host = None if confirm_host is None else _in_turn(confirm_host)
        self._clients: dict[tuple[object, ...], NodeClient] = {}
        self._lock = threading.Lock()

    def client(self, node: Node) -> NodeClient:
        key = (
            node.label,
            node.address,
            node.port,
            node.user,
            node.python,
            node.identity_file,
            node.proxy_jump,
        )
        with self._lock:
            return self._clients.setdefault(key, NodeClient(node, self._confirm_host))

    def clients_of(self, profile: Profile) -> dict[str, NodeClient]:
        """Those of a profile that only SSH reaches, by name."""
        return {node.label: self.client(node) for node in profile.nodes if not node.is_local}

    def __enter__(self) -> NodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()


def _in_turn(confirm_host: ConfirmHost) -> ConfirmHost:
    """One question at a time."""
    lock = threading.Lock()

    def confirm(question: str) -> bool:
        with lock:
            return confirm_host(question)

    return confirm


def call_all(
    clients: Mapping[str, NodeClient], question: Callable[[NodeClient], Message]
) -> dict[str, Message]:
    """Asks all nodes at once. Raises `NodeError` with what is wrong on each of them."""
    if not clients:
        return {}
    with ThreadPoolExecutor(min(ssh.MAX_SETTING_UP, len(clients))) as pool:
        futures = {label: pool.submit(question, client) for label, client in clients.items()}
    errors = [e for f in futures.values() if isinstance(e := f.exception(), NodeError)]
    if len(errors) > 1:
        first, *others = errors
        text = "\n".join([first.message, *map(str, others)])
        raise NodeError(first.node, text, first.hint)
    return {label: future.result() for label, future in futures.items()}
