"""Stand-ins for a source: one that is made when it is first used, one that refuses every action."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

from tui.sources.source import Source, SourceError

READ_ONLY: Final = "started with --readonly: nothing can be changed"


def lazy(make: Callable[[], Source]) -> Source:
    """``make``'s source, made by the first worker thread that needs it.

    The launcher's import takes half a second, for which the first frame does not wait.
    """
    return cast("Source", _Lazy(make))


def refusing(source: Source, why: str = READ_ONLY) -> Source:
    """Shows what ``source`` shows and changes nothing: the second lock of ``--readonly``."""
    return cast("Source", _Refusing(source, why))


class _Lazy:
    def __init__(self, make: Callable[[], Source]) -> None:
        self._make, self._source, self._lock = make, cast("Source | None", None), threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._source is None:
                self._source = self._make()
        return getattr(self._source, name)


class _Refusing:
    def __init__(self, source: Source, why: str) -> None:
        self._source, self._why = source, why

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def send(self, target: str, request: object) -> NoReturn:
        raise SourceError(self._why)
