"""The clients of a supervisor: each a channel, answered when it asks."""

from __future__ import annotations

import selectors
from collections.abc import Callable

from launcher.ipc.channel import AnyMessage, Channel
from launcher.ipc.endpoint import Endpoint
from launcher.process.log import log_line

MAX_CLIENTS = 32

Answer = Callable[[Channel, AnyMessage], None]


class Clients:
    """Those that are connected now."""

    def __init__(
        self, endpoint: Endpoint, selector: selectors.BaseSelector, answer: Answer
    ) -> None:
        self._endpoint = endpoint
        self._selector = selector
        self._answer = answer
        self._channels: list[Channel] = []

    def ready(self, source: object) -> bool:
        """Something arrived. -> whether it was a client's."""
        if self._endpoint.is_at(source):
            self._accept()
            return True
        if not isinstance(source, Channel) or source not in self._channels:
            return False
        for message in source.receive():
            self._answer(source, message)
        if source.closed:
            self._forget(source)
        return True

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def _accept(self) -> None:
        client = self._endpoint.accept()
        if client is None:
            return
        self._channels.append(client)
        self._selector.register(client, selectors.EVENT_READ)
        if len(self._channels) > MAX_CLIENTS:
            oldest = self._channels[0]
            oldest.close(f"more than {MAX_CLIENTS} connections")
            self._forget(oldest)

    def _forget(self, client: Channel) -> None:
        if client.problem:
            log_line(f"connection of a client closed: {client.problem}")
        self._channels.remove(client)
        for key in list(self._selector.get_map().values()):
            if key.fileobj is client:
                self._selector.unregister(client)
