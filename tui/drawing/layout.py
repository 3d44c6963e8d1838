"""Who gets how many cells of the run screen. Arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

PANELS: Final = ("ranks", "charts", "skew", "log")
MIN_WIDTH: Final = 60
MIN_HEIGHT: Final = 16
FIXED_LINES: Final = 3  # header and hints
LEAST_TABLE: Final = 2
LEAST_CHARTS: Final = 4
LEAST_LOG: Final = 3
LEAST_STRIP: Final = 20
NO_SHARES: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Layout:
    """Heights in lines; 0 hides the panel. ``skew_width`` is 0 when it lies below the table."""

    table: int
    skew: int
    skew_width: int
    charts: int
    chart_count: int
    log: int
    card: int


def too_small(width: int, height: int) -> bool:
    """Whether the run screen does not fit."""
    return width < MIN_WIDTH or height < MIN_HEIGHT


def arrange(
    width: int,
    height: int,
    ranks: int,
    shown: Set[str],
    zoom: str = "",
    card: int = 0,
    shares: Mapping[str, float] = NO_SHARES,
) -> Layout:
    """Divide a terminal of ``width`` × ``height`` cells between the panels in ``shown``.

    ``zoom`` gives one panel everything; ``card`` is how many lines the failure card wants;
    ``shares`` are the user's own sizes (``tui.drawing.sizes``), as far as the
    others keep their least.
    """
    room = whole = max(height - FIXED_LINES, 1)
    count = max(1, min(4, width // 52))
    if zoom:
        return Layout(
            table=room if zoom == "ranks" else 0,
            skew=room if zoom == "skew" else 0,
            skew_width=0,
            charts=room if zoom == "charts" else 0,
            chart_count=1,
            log=room if zoom == "log" else 0,
            card=0,
        )
    card_lines = min(card, max(9, room // 3)) if card else 0
    room -= card_lines
    beside = width >= 140 and ranks > 1 and {"ranks", "skew"} <= shown
    table = skew = charts = 0
    least_below = LEAST_CHARTS * ("charts" in shown) + LEAST_LOG * ("log" in shown)
    if "ranks" in shown:
        table = min(max(ranks, 1) + 1, max(room * 2 // 5, 9 if room >= 20 else 3))
        if "ranks" in shares:
            table = within(round(shares["ranks"] * whole), LEAST_TABLE, room - least_below)
        if beside:
            table = max(table, min(4, room))
        room -= table
    if "skew" in shown and ranks > 1 and not beside and room >= 24:
        skew = min(ranks + 2, room // 3)
        room -= skew
    if "charts" in shown:
        least = 6 if "log" in shown else 4
        charts = room if "log" not in shown else min(max(room * 9 // 20, least), 16)
        if room - charts < 4 and "log" in shown:
            charts = 0 if card or room < 9 else room - 4
        if "charts" in shares and "log" in shown and room >= LEAST_CHARTS + LEAST_LOG:
            charts = within(round(shares["charts"] * whole), LEAST_CHARTS, room - LEAST_LOG)
        room -= charts
    log = max(room, 0) if "log" in shown else 0
    if not log and not charts and "ranks" in shown:
        table += room
    return Layout(
        table=table,
        skew=table if beside else skew,
        skew_width=_strip(width, shares) if beside else 0,
        charts=charts,
        chart_count=count,
        log=log,
        card=card_lines,
    )


def within(value: int, least: int, most: int) -> int:
    """``value``, but not below ``least`` nor, unless that is below it, above ``most``."""
    return max(min(value, most), least)


def _strip(width: int, shares: Mapping[str, float]) -> int:
    if "strip" in shares:
        return within(round(shares["strip"] * width), LEAST_STRIP, width // 2)
    return max(width * 38 // 100, 40)
