"""Numbers in other programs' output and in files that people write."""

from __future__ import annotations

MAX_DIGITS = 18
"""More do not fit 64 bits."""


def whole_number(text: str) -> int | None:
    """The number that 1 to 18 ASCII digits are; `None` for any other text.

    ``str.isdigit`` accepts ``²``, ``int`` does not; both accept digits of other scripts.
    """
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)
    return None
