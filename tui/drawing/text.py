"""Text from outside, fitted to the cells of a terminal."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.keys import format_key

from launcher.core.text.terminal import clean as clean


def fit(text: str, width: int, align: str = "<") -> str:
    """``text`` in exactly ``width`` cells; what is cut off is marked by ``…``."""
    if width <= 0:
        return ""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    pad = " " * (width - length)
    return pad + text if align == ">" else text + pad


def fit_middle(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, cut in the middle: ids differ at their ends."""
    if cell_len(text) <= width or width < 5:
        return fit(text, width).rstrip()
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def key_name(key: str) -> str:
    """Textual's name of a key, but ``enter`` as a word."""
    return key if key == "enter" else format_key(key)
