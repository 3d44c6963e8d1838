"""What Ctrl-C does not cut in two: something is started, or it is not, and the user is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_open: set[object] = set()
_waiting: list[Callable[[], None]] = []


@contextmanager
def uninterrupted() -> Iterator[None]:
    """An interrupt within it waits for its end."""
    block = object()
    _open.add(block)
    try:
        yield
    finally:
        _open.discard(block)
        if not _open and _waiting:
            _waiting.pop()()


def interrupt(end: Callable[[], None], says: Callable[[], None]) -> None:
    """Calls `end`, at once or, having called `says`, after what must not be cut in two.

    For a signal handler.
    """
    if _open:
        if not _waiting:
            _waiting.append(end)
            says()
    else:
        end()
