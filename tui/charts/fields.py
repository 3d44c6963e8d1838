"""What can be charted, and how its values read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from launcher.core.text.figures import NOT_KNOWN, milliseconds, number, size_bytes

if TYPE_CHECKING:
    from launcher.client import RankSnapshot


@dataclass(frozen=True, slots=True)
class ChartField:
    """What can be drawn: its name in the client, its title, and how a value reads."""

    name: str
    title: str
    text: Callable[[float | None, int], str]  # value, digits more than usual
    mean_only: bool = False  # every rank reports the same value
    is_sampled: bool = False  # not every device or kernel has it


def _plain(value: float | None, more: int = 0) -> str:
    return number(value, 4 + more)


def _in(unit: str) -> Callable[[float | None, int], str]:
    def text(value: float | None, more: int = 0) -> str:
        return NOT_KNOWN if value is None else f"{value:.{more}f} {unit}"

    return text


FIELDS: Final = {
    field.name: field
    for field in (
        ChartField("loss", "loss", _plain, mean_only=True),
        ChartField("step_time_ms", "step time", milliseconds),
        ChartField("memory_bytes", "memory", size_bytes),
        ChartField("images_per_s", "images/s", _plain, mean_only=True),
        ChartField("learning_rate", "learning rate", _plain, mean_only=True),
        ChartField("wait_ms", "wait", milliseconds),
        ChartField("cpu_percent", "CPU", _in("%"), is_sampled=True),
        ChartField("io_wait_percent", "I/O wait", _in("%"), is_sampled=True),
        ChartField("device_use_percent", "device use", _in("%"), is_sampled=True),
        ChartField("power_w", "power", _in("W"), is_sampled=True),
        ChartField("temperature_c", "temperature", _in("°C"), is_sampled=True),
        ChartField("clock_mhz", "clock", _in("MHz"), is_sampled=True),
    )
}
FIELD_NAMES: Final = tuple(FIELDS)


def sampled_fields(ranks: Sequence[RankSnapshot]) -> set[str]:
    """The sampled fields that one of these ranks has now."""
    names = [name for name, field in FIELDS.items() if field.is_sampled]
    return {name for name in names if any(getattr(rank, name) is not None for rank in ranks)}


def axis_labels(values: Sequence[float], text: Callable[[float | None, int], str]) -> list[str]:
    """Labels with as few digits as make them differ, three more than usual at most."""
    labels: list[str] = []
    for more in range(4):
        labels = [text(value, more) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels
