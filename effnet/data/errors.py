"""What can be wrong with a data set."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from effnet.errors import EffnetError


class DataError(EffnetError):
    """The folder, its classes or its images are not what a run needs."""

    kind = "data"


class UnreadableImage(DataError):
    """One image could not be decoded; the message is the reason."""


class TooManyBadImages(DataError):
    """More images than ``max_bad_images`` could not be read."""


class BadImages:
    """The images that could not be read, each once, with the reason; safe between threads.

    Up to ``limit`` images are allowed (``None``: any number); one more raises.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, path: str, reason: str) -> None:
        """Note one image; raises :class:`TooManyBadImages` past the limit."""
        with self._lock:
            self._reasons.setdefault(path, reason)
            if self.limit is None or len(self._reasons) <= self.limit:
                return
            raise TooManyBadImages(
                f"{len(self._reasons)} unreadable images, max_bad_images is {self.limit}:\n"
                + listing(tuple(self._reasons.items())),
                hint="`python -m effnet data check DIR` lists every one; repair or remove them,"
                " or raise max_bad_images",
            )

    @property
    def items(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) in the order in which they were met."""
        with self._lock:
            return tuple(self._reasons.items())

    def __len__(self) -> int:
        return len(self._reasons)

    def summary(self, first: int = 5) -> str:
        """One line, then the first few; call it only where there are some."""
        items = self.items
        many = f"{len(items)} unreadable image{'s' if len(items) > 1 else ''}"
        return f"{many}:\n{listing(items, first)}"


def listing(items: Sequence[tuple[str, str]], first: int = 5) -> str:
    lines = [f"  {path}: {reason}" for path, reason in items[:first]]
    if len(items) > first:
        lines.append(f"  and {len(items) - first} more")
    return "\n".join(lines)
