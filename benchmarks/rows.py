"""Tables in Markdown on standard output, a row at a time; progress belongs on standard error."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def head(*cells: str) -> None:
    """The first two lines of a table."""
    row(*cells)
    print(f"|{'---|' * len(cells)}", flush=True)


def row(*cells: str) -> None:
    print("".join(f"| {cell} " if cell else "| " for cell in cells) + "|", flush=True)


def p95(values: Sequence[float]) -> float:
    """Of one value, itself."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
