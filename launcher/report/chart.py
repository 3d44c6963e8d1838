"""Curves as SVG, without scripts."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 200
LEFT, BOTTOM, TOP = 70, 22, 8
POINTS = 320
"""A curve has at most two points for each of so many columns: the lowest and the highest."""

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")


@dataclass(frozen=True)
class Curve:
    """One line; ``steps`` grow."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Mark:
    """A vertical line at a step."""

    step: int
    text: str


def chart(
    title: str, curves: Sequence[Curve], text: Callable[[float], str], marks: Sequence[Mark] = ()
) -> str:
    """An SVG figure; ``text`` formats a value of the y axis. Empty when nothing is known."""
    reduced = [(curve.name, _reduced(curve)) for curve in curves]
    points = [point for _, line in reduced for point in line]
    if not points:
        return ""
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high, is_cut = _limits([y for _, y in points])

    def x_of(step: float) -> float:
        return LEFT + (step - first) / max(last - first, 1) * (WIDTH - LEFT - 8)

    def y_of(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(title)}">']
    for value in (low, (low + high) / 2, high):
        y = y_of(value)
        label = _text((">" if is_cut and value == high else "") + text(value))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{label}</text>')
    for mark in marks:
        if first <= mark.step <= last:
            x = x_of(mark.step)
            parts.append(
                f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}"'
                f' y2="{HEIGHT - BOTTOM}"><title>{_text(mark.text)}</title></line>'
            )
    for number, (name, line) in enumerate(reduced):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polyline points="{path}" stroke="{colour}"><title>{_text(name)}</title></polyline>'
        )
    base = HEIGHT - 6
    parts.append(f'<text x="{LEFT}" y="{base}">step {first}</text>')
    parts.append(f'<text class="y" x="{WIDTH - 8}" y="{base}">step {last}</text></svg>')
    shown = [
        f'<span style="color:{COLOURS[number % len(COLOURS)]}">{_text(name)}</span>'
        for number, (name, _) in enumerate(reduced)
    ]
    caption = f"{_text(title)} {' '.join(shown)}"
    return f"<figure><figcaption>{caption}</figcaption>{''.join(parts)}</figure>"


def _text(value: str) -> str:
    return html.escape(value)


def _reduced(curve: Curve) -> list[tuple[int, float]]:
    """The lowest and the highest value of each column, in their order."""
    known = [
        (step, value)
        for step, value in zip(curve.steps, curve.values, strict=True)
        if math.isfinite(value)
    ]
    if len(known) <= 2 * POINTS:
        return known
    line = []
    for column in range(POINTS):
        part = known[column * len(known) // POINTS : (column + 1) * len(known) // POINTS]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        line += sorted(ends)
    return line


def _limits(values: list[float]) -> tuple[float, float, bool]:
    """(lowest, highest, whether higher values are cut): a few outliers do not flatten the rest."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    usual = ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    is_cut = high - low > 4 * (usual - low) > 0
    high = usual if is_cut else high
    if low == high:
        pad = abs(low) * 0.05 or 0.5
        return low - pad, high + pad, False
    return low, high, is_cut
