"""Figures for people, in one format for the command line and the dashboard.

``NOT_KNOWN`` is shown for every unknown value; a zero is always a measured zero.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

NOT_KNOWN: Final = "–"


def number(value: float | None, digits: int = 3) -> str:
    """About ``digits`` significant digits; ``1.2e7`` only from 1e6 on and below 1e-3."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN if value is None or math.isnan(value) else str(value)
    size = abs(value)
    if size >= 1e6 or (0 < size < 1e-3):
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if 0 < size < 1:
        zeros = -math.floor(math.log10(size)) - 1  # behind the point
        return f"{value:.{digits - 1 + zeros}f}"
    whole = len(str(int(size)))
    return f"{value:.{max(digits - whole, 0)}f}"


def count(value: float | None) -> str:
    """``42``: a number of things, of a step or of a rank."""
    return NOT_KNOWN if value is None else f"{value:.0f}"


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
    """``8 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``: rounded, as an ETA is."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NOT_KNOWN
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours, rest = divmod(int(minutes), 60)
    if hours < 48:
        return f"{hours} h {rest:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def age(seconds: float | None) -> str:
    """How old a figure is: ``0.3 s``, ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 5400:
        return duration(seconds)
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def time_of_day(unix_s: float | None) -> str:
    """``18:13``, in the time zone of the reader."""
    try:
        return NOT_KNOWN if unix_s is None else f"{datetime.fromtimestamp(unix_s):%H:%M}"
    except (OverflowError, ValueError, OSError):  # no moment that a calendar has
        return NOT_KNOWN


def percent(part: float | None, whole: float | None = 1.0, digits: int = 0) -> str:
    """``37 %``; unknown when a value is, or ``whole`` is 0."""
    if part is None or not whole or not math.isfinite(part / whole):
        return NOT_KNOWN
    return f"{100 * part / whole:.{digits}f} %"


def accuracy(share: float | None) -> str:
    """``79.53 %``."""
    return percent(share, digits=2)


def position_words(epoch: int | None, step: int | None) -> str:
    """``step 90 (2 epochs done)``: where a checkpoint is, whether or not its epoch was finished."""
    done = "" if epoch is None else f" ({plural(epoch, 'epoch')} done)"
    return f"step {count(step)}{done}"


def checkpoint_words(path: str, epoch: int | None, step: int | None) -> str:
    """The position of a checkpoint; its file's name where its step is not known."""
    if step is not None:
        return position_words(epoch, step)
    return "its own checkpoint" if path == "auto" else path.rpartition("/")[2]


def plural(how_many: int, noun: str) -> str:
    """``1 rank``, ``8 ranks``, ``2 classes``."""
    if how_many == 1:
        return f"1 {noun}"
    return f"{how_many} {noun}{'es' if noun.endswith('s') else 's'}"
