"""What a bar, a chart and a mark are drawn with, by what the terminal can show.

``block`` is the default: every UTF-8 font has block characters, but not all have braille, and a
font without it turns a chart into stripes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["braille", "block", "ascii"]
LEVELS: Final[tuple[Level, ...]] = ("braille", "block", "ascii")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of one level; every one is a single cell wide."""

    level: Level
    bar_full: str = "█"
    bar_empty: str = "░"
    cursor: str = "▶"
    ok: str = "✓"
    bad: str = "✗"
    live: str = "●"
    idle: str = "○"
    axis: str = "│"
    grid: tuple[int, int] = (2, 2)  # dots of a curve in a cell: columns, rows
    dots: str = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"  # by bits, row by row from the upper left
    shades: str = "·░▒▓█"  # skew strip, from on time to late
    up: str = "↑"
    down: str = "↓"
    rises: str = "▁▂▃▄▅▆▇█"  # a small curve in a line of text
    bar_part: str = "┃"  # the part of a list that is in view
    over: str = "▲"  # a value above the chart's limits
    under: str = "▼"
    saved: str = "◆"  # a checkpoint
    begin: str = "┊"  # an attempt
    arrow: str = "→"
    edge: str = "▌"


BLOCK: Final = Glyphs("block")
# Unicode numbers the dots 1 4 / 2 5 / 3 6 / 7 8, and the characters by those.
_BRAILLE_BITS: Final = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
BRAILLE: Final = Glyphs(
    "braille",
    grid=(2, 4),
    dots="".join(
        chr(0x2800 + sum(bit for at, bit in enumerate(_BRAILLE_BITS) if bits >> at & 1))
        for bits in range(256)
    ),
)
ASCII: Final = Glyphs(
    "ascii", "#", ".", ">", "+", "x", "*", "o", "|", (1, 1), " *", ".:+#@",
    rises="_.-=", up="^", down="v", bar_part="#", over="^", under="v", saved="o", begin=":",
    arrow=">", edge="!",
)  # fmt: skip


def glyphs_for(level: str) -> Glyphs:
    """The glyphs of a level by name; raises ``KeyError`` for another name."""
    return {"braille": BRAILLE, "block": BLOCK, "ascii": ASCII}[level]


def detect_level(environ: Mapping[str, str] | None = None, encoding: str | None = None) -> Level:
    """``block`` where the terminal uses UTF-8, else ``ascii``; never ``braille``.

    ``environ`` and ``encoding`` default to this process's.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return "ascii"
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if "utf-8" in locale.lower() or "utf8" in locale.lower():
        return "block"
    if locale and locale not in ("C", "POSIX"):
        return "ascii"
    stream = encoding or getattr(sys.__stdout__, "encoding", None) or "ascii"
    return "block" if "utf" in stream.lower() else "ascii"
