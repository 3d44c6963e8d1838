"""Heartbeats of a node's ranks, and the hang rule applied to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from launcher.shell.channel import Message
from launcher.shell.orders import NodeOrder
from launcher.shell.rank_log import RankLog


class HangWatch:
    def __init__(
        self,
        order: NodeOrder,
        pids: Callable[[], Mapping[int, int]],
        tell: Callable[[Message], None],
    ) -> None:
        self._order = order
        self._pids = pids
        self._tell = tell

    def look(self, now_s: float, logs: Mapping[int, RankLog]) -> None:
        pass

    def phase(self, rank: int) -> str | None:
        return None
