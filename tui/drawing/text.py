"""Figures and text from outside, formatted for the cells of a terminal.

``NOT_KNOWN`` is shown for every unknown value; a zero is always a measured zero.
"""

from __future__ import annotations

import math
from typing import Final

from rich.cells import cell_len, set_cell_size
from textual.keys import format_key

from launcher.core.text.terminal import clean as clean

NOT_KNOWN: Final = "–"


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


def number(value: float | None, digits: int = 3) -> str:
    """About ``digits`` significant digits, never an exponent between 1e-3 and 1e6."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN if value is None or math.isnan(value) else str(value)
    size = abs(value)
    if size >= 1e6 or (0 < size < 1e-3):
        return f"{value:.{max(digits - 2, 0)}e}"
    whole = len(str(int(size)))
    return f"{value:.{max(digits - whole, 0)}f}"


def milliseconds(value_ms: float | None, more: int = 0) -> str:
    """``941 ms``, ``12.3 s``: a step's time, with ``more`` digits than usual."""
    if value_ms is None or not math.isfinite(value_ms):
        return NOT_KNOWN
    if value_ms < 10:
        return f"{value_ms:.{1 + more}f} ms"
    if value_ms < 10_000:
        return f"{value_ms:.{more}f} ms"
    return f"{value_ms / 1000:.{1 + more}f} s"


def size_bytes(value: float | None, more: int = 0) -> str:
    """``1.2 GiB``; binary units, as device tools print them, with ``more`` digits than usual."""
    if value is None or not math.isfinite(value) or value < 0:
        return NOT_KNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000:
            digits = more + (value < 100 and unit != "B")
            return f"{value:.{digits}f} {unit}"
        value /= 1024
    return f"{value:.{1 + more}f} TiB"


def duration(seconds: float | None) -> str:
    """``8 s``, ``12 min``, ``3 h 05``, ``2 d 4 h``: rounded, as an ETA is."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NOT_KNOWN
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours, rest = divmod(int(minutes), 60)
    if hours < 48:
        return f"{hours} h {rest:02d}"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def age(seconds: float | None) -> str:
    """How old a figure is: ``0.3 s``, ``12 s``, ``5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_KNOWN
    seconds = max(seconds, 0.0)
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def percent(part: float | None, whole: float | None) -> str:
    """``37 %``; unknown when a value is, or ``whole`` is 0."""
    if part is None or not whole:
        return NOT_KNOWN
    return f"{100 * part / whole:.0f} %"


def key_name(key: str) -> str:
    """Textual's name of a key, but ``enter`` as a word."""
    return key if key == "enter" else format_key(key)


def plural(count: int, noun: str) -> str:
    """``1 rank``, ``8 ranks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
