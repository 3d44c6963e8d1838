"""What can be charted, and how its values read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from launcher.core.text.figures import milliseconds, number, size_bytes


@dataclass(frozen=True, slots=True)
class ChartField:
    """What can be drawn: its name in the client, its title, and how a value reads."""

    name: str
    title: str
    text: Callable[[float | None, int], str]  # value, digits more than usual
    mean_only: bool = False  # every rank reports the same value


def _plain(value: float | None, more: int = 0) -> str:
    return number(value, 4 + more)


FIELDS: Final = {
    field.name: field
    for field in (
        ChartField("loss", "loss", _plain, mean_only=True),
        ChartField("step_time_ms", "step time", milliseconds),
        ChartField("memory_bytes", "memory", size_bytes),
        ChartField("images_per_s", "images/s", _plain, mean_only=True),
        ChartField("learning_rate", "learning rate", _plain, mean_only=True),
        ChartField("wait_ms", "wait", milliseconds),
    )
}
FIELD_NAMES: Final = tuple(FIELDS)


def axis_labels(values: Sequence[float], text: Callable[[float | None, int], str]) -> list[str]:
    """Labels with as few digits as make them differ, three more than usual at most."""
    labels: list[str] = []
    for more in range(4):
        labels = [text(value, more) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels
