"""Requests to save and stop: a file, or a signal."""

from __future__ import annotations

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether this rank has a stop request, and from where.

    The first signal is a request and restores the earlier handlers, so the second one ends the
    process. The launcher sets the file's path in `EFFNET_STOP_FILE`.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._signal: str | None = None
        self._before: dict[int, object] = {}

    @classmethod
    def from_environment(cls) -> StopRequest:
        return cls(os.environ.get("EFFNET_STOP_FILE"))

    def __enter__(self) -> StopRequest:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python cannot be set again from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]
        self._before.clear()

    @property
    def reason(self) -> str | None:
        """`None`, a signal's name, or `stop file`."""
        if self._signal is not None:
            return self._signal
        if self._path is not None and os.path.exists(self._path):
            return "stop file"
        return None
