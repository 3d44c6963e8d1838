"""Panels that the user made higher or wider: shares of the screen, so that they fit every terminal.

``ranks`` and ``charts`` are shares of the lines that panels have, ``strip`` of the width. A panel
without a share has the size that :func:`tui.drawing.layout.arrange` thinks best. Arithmetic only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tui.drawing.layout import FIXED_LINES, Layout

STRIP: Final = "strip"
SIZED: Final = ("ranks", "charts", STRIP)
Shares = Mapping[str, float]


def higher(layout: Layout, height: int, shares: Shares, panel: str, by: int) -> Shares:
    """The shares after ``panel`` became ``by`` lines higher, at the cost of its neighbour.

    The log and the charts take from each other, the ranks from what is below them.
    """
    if panel == "ranks" and layout.table:
        return _set(shares, height, {"ranks": layout.table + by})
    if panel == "charts" and layout.charts and layout.log:
        return _set(shares, height, {"charts": layout.charts + by})
    if panel in ("charts", "log") and layout.table and not (layout.charts and layout.log):
        return _set(shares, height, {"ranks": layout.table - by})
    if panel == "log" and layout.charts:
        return _set(shares, height, {"charts": layout.charts - by})
    return shares


def dragged(layout: Layout, height: int, shares: Shares, panel: str, down: int) -> Shares:
    """The shares after the upper edge of ``panel`` was dragged ``down`` lines down."""
    if panel == "log":
        return higher(layout, height, shares, "log", -down)
    if not layout.table:
        return shares
    lines = {"ranks": layout.table + down}
    if panel == "charts" and layout.charts and layout.log:
        lines["charts"] = layout.charts - down
    return _set(shares, height, lines)


def wider(layout: Layout, width: int, shares: Shares, by: int) -> Shares:
    """The shares after the strip beside the ranks became ``by`` cells wider."""
    if not layout.skew_width:
        return shares
    return {**shares, STRIP: round(max(layout.skew_width + by, 1) / width, 4)}


def _set(shares: Shares, height: int, lines: Mapping[str, int]) -> Shares:
    room = max(height - FIXED_LINES, 1)
    return {**shares, **{name: round(max(part, 1) / room, 4) for name, part in lines.items()}}
