"""What a bar, a chart and a mark are drawn with, by what the terminal can show.

``block`` is the default: eighth blocks are in every UTF-8 font, braille is not, and inside tmux
or over SSH a font that lacks it turns a chart into stripes.
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
    eighths: str  # from empty to a full cell, upwards
    bar_full: str
    bar_part: str  # partial cells of a horizontal bar, from least to most
    bar_empty: str
    cursor: str
    ok: str
    bad: str
    live: str
    idle: str
    rule: str
    axis: str
    shades: str  # skew strip, from on time to late
    unknown: str
    up: str
    down: str
    ellipsis: str


BLOCK: Final = Glyphs(
    "block", " ▁▂▃▄▅▆▇█", "█", "▏▎▍▌▋▊▉", "░", "▶", "✓", "✗", "●", "○", "─", "│",
    "·░▒▓█", " ", "↑", "↓", "…",
)  # fmt: skip
BRAILLE: Final = Glyphs(
    "braille", BLOCK.eighths, "█", BLOCK.bar_part, "░", "▶", "✓", "✗", "●", "○", "─", "│",
    "·░▒▓█", " ", "↑", "↓", "…",
)  # fmt: skip
ASCII: Final = Glyphs(
    "ascii", " .:-=+*#@", "#", "", ".", ">", "+", "x", "*", "o", "-", "|",
    ".:+#@", " ", "^", "v", ".",
)  # fmt: skip


def glyphs_for(level: str) -> Glyphs:
    """The glyphs of a level by name; raises ``KeyError`` for another name."""
    return {"braille": BRAILLE, "block": BLOCK, "ascii": ASCII}[level]


def detect_level(environ: Mapping[str, str] | None = None, encoding: str | None = None) -> Level:
    """``block`` where the terminal speaks UTF-8, else ``ascii``; braille is only ever chosen.

    ``environ`` and ``encoding`` default to this process's.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return "ascii"
    said = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if "utf-8" in said.lower() or "utf8" in said.lower():
        return "block"
    if said and said not in ("C", "POSIX"):
        return "ascii"
    stream = encoding or getattr(sys.__stdout__, "encoding", None) or "ascii"
    return "block" if "utf" in stream.lower() else "ascii"
