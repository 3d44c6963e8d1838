"""Runs compared: how their configurations differ, how fast they were, and where the time went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from launcher.core.diagnosis.goodput import Goodput
from launcher.core.history.config import Setting
from launcher.core.history.summary import RunSummary
from launcher.core.text.figures import NOT_KNOWN, count, duration, milliseconds, number, percent

NAMES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALIKE: Final = 0.05
"""Speeds that differ by less are called equal."""
SHARE: Final = 0.05
"""A part of the time is named when its share differs by more."""
SPEED_KEYS: Final = frozenset(
    {"ranks", "nodes", "device_target", "start_method", "batch_size", "variant", "image_size"}
    | {
        "amp_level",
        "amp_dtype",
        "jit_level",
        "mode",
        "reduction",
        "auto_augment",
        "num_workers",
        "image_cache_mb",
    }
    | {"interpolation", "train_interpolation", "padding", "report_steps", "ema_decay"}
    | {"mindspore", "python", "numpy", "environment"}
)
"""Settings that change how long a step takes."""


@dataclass(frozen=True)
class Speed:
    """How fast a run was, and where its time went; ``None`` is not recorded.

    ``step_ms``, ``busy_ms``, ``wait_ms``: medians of a step, of its own work with input, and of its
    wait for other ranks, over all ranks. ``slowest_rank``: the one with the longest own work.
    """

    goodput: Goodput
    images_per_s: float | None = None
    step_ms: float | None = None
    busy_ms: float | None = None
    wait_ms: float | None = None
    slowest_rank: int | None = None
    images_per_step: int | None = None
    attempts: int = 0
    failures: tuple[str, ...] = ()

    @property
    def wait_share(self) -> float | None:
        """Of a step, waiting for other ranks."""
        if self.wait_ms is None or not self.step_ms:
            return None
        return self.wait_ms / self.step_ms


@dataclass(frozen=True)
class Difference:
    """One key that differs; a value is ``None`` where it is not known."""

    key: str
    settings: tuple[Setting | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were named: A, B, C …"""

    runs: tuple[RunSummary, ...]
    speeds: tuple[Speed, ...]
    differences: tuple[Difference, ...]
    words: tuple[str, ...]


PARTS: Final = {
    "queue_s": "until the first attempt",
    "launch_s": "launch and end",
    "compile_s": "compile",
    "compute_s": "compute",
    "wait_s": "waiting for peers",
    "input_s": "input",
    "checkpoint_s": "checkpoints",
    "evaluation_s": "evaluations",
    "lost_s": "steps trained again",
    "down_s": "down after failures",
    "stopped_s": "stopped",
}
"""The classes of a run's time, in the order in which they are shown."""


def compared(
    runs: Sequence[RunSummary],
    settings: Sequence[Mapping[str, Setting]],
    speeds: Sequence[Speed],
) -> Comparison:
    """The comparison; all three have one item a run."""
    found = differences(settings)
    return Comparison(tuple(runs), tuple(speeds), found, tuple(_words(speeds, found)))


def differences(settings: Sequence[Mapping[str, Setting]]) -> tuple[Difference, ...]:
    """Keys of which two known values differ, or that somebody set and another run does not have."""
    keys = sorted({key for one in settings for key in one})
    found = []
    for key in keys:
        items = tuple(one.get(key) for one in settings)
        known = [item for item in items if item is not None]
        is_set = any(item.source != "default" for item in known)
        if any(not _equal(item.value, known[0].value) for item in known) or (
            is_set and len(known) < len(items)
        ):
            found.append(Difference(key, items))
    return tuple(found)


def _equal(one: Any, other: Any) -> bool:
    """0.1 of a file is 0.1 of a command line, but true is not 1."""
    return (type(one) is type(other) and one == other) or (
        not isinstance(one, bool) and not isinstance(other, bool) and one == other
    )


def rows(speeds: Sequence[Speed]) -> list[tuple[str, tuple[str, ...]]]:
    """A table of the speeds: a title, and a text for each run."""

    def part(speed: Speed, name: str) -> str:
        value: float = getattr(speed.goodput, name)
        if not value:
            return NOT_KNOWN
        return f"{duration(value)} {percent(value, speed.goodput.wall_s):>5}"

    def waiting(speed: Speed) -> str:
        text = milliseconds(speed.wait_ms)
        return text if speed.wait_share is None else f"{text} {percent(speed.wait_share)}"

    def each(text: Any) -> tuple[str, ...]:
        return tuple(text(speed) for speed in speeds)

    return [
        ("images/s", each(lambda speed: number(speed.images_per_s, 4))),
        ("images a step", each(lambda speed: count(speed.images_per_step))),
        ("step", each(lambda speed: milliseconds(speed.step_ms))),
        ("· own work and input", each(lambda speed: milliseconds(speed.busy_ms))),
        ("· waiting for peers", each(waiting)),
        ("slowest rank", each(lambda speed: count(speed.slowest_rank))),
        ("took", each(lambda speed: duration(speed.goodput.wall_s))),
        *(
            (f"· {title}", each(lambda speed, name=name: part(speed, name)))
            for name, title in PARTS.items()
        ),
        ("attempts", each(lambda speed: count(speed.attempts))),
        ("failures", each(lambda speed: count(len(speed.failures)))),
    ]


def _words(speeds: Sequence[Speed], found: Sequence[Difference]) -> Iterator[str]:
    first = speeds[0]
    for name, speed in zip(NAMES[1:], speeds[1:], strict=False):
        yield from _steps(name, first, speed)
    for field, title in PARTS.items():
        if field != "compute_s" and (text := _part(speeds, field)):
            yield f"{title}: {text}"
    for name, speed in zip(NAMES, speeds, strict=False):
        if speed.failures:
            how_often = "once" if len(speed.failures) == 1 else f"{len(speed.failures)} times"
            yield f"{name} failed {how_often}: {speed.failures[-1]}"
    keys = [item.key for item in found if item.key in SPEED_KEYS]
    if keys and any(_ratio(first.images_per_s, one.images_per_s) is not None for one in speeds[1:]):
        yield f"settings that differ and change the speed: {', '.join(keys)}"


def _steps(name: str, first: Speed, speed: Speed) -> Iterator[str]:
    """How fast a run is beside A, and which part of a step makes the difference."""
    if first.images_per_s is None or speed.images_per_s is None:
        return
    rates = f"{number(speed.images_per_s, 3)} images/s, A {number(first.images_per_s, 3)}"
    ratio = _ratio(first.images_per_s, speed.images_per_s)
    if ratio is None:
        yield f"{name} is as fast as A: {rates}"
    else:
        much = f"{max(ratio, 1 / ratio):.2g} times"
        yield f"{name} is {much} as {'fast' if ratio > 1 else 'slow'} as A: {rates}"
    if first.images_per_step and speed.images_per_step not in (None, first.images_per_step):
        yield f"a step of {name} has {speed.images_per_step} images, A {first.images_per_step}"
    if _ratio(first.step_ms, speed.step_ms) is None or first.step_ms is None:
        return
    more_ms = (speed.step_ms or 0.0) - first.step_ms
    longer = "longer" if more_ms > 0 else "less"
    text = f"a step of {name} takes {milliseconds(abs(more_ms))} {longer}"
    parts = []
    for one, other, what in (
        (first.busy_ms, speed.busy_ms, "own work and input"),
        (first.wait_ms, speed.wait_ms, "waiting for peers"),
    ):
        if one is not None and other is not None and abs(other - one) >= ALIKE * abs(more_ms):
            much = "more" if other > one else "less"
            parts.append(f"{milliseconds(abs(other - one))} {much} {what}")
    if first.wait_ms is None or speed.wait_ms is None:
        parts = []
    if parts:
        text += f": {', '.join(parts)}"
    yield text


def _ratio(one: float | None, other: float | None) -> float | None:
    """``other`` as a multiple of ``one``; ``None`` when both are alike or one is not known."""
    if not one or not other or not math.isfinite(one) or not math.isfinite(other):
        return None
    ratio = other / one
    if not ratio or not math.isfinite(ratio):
        return None  # of figures that no run has
    return None if 1 - ALIKE < ratio < 1 + ALIKE else ratio


def _part(speeds: Sequence[Speed], field: str) -> str:
    """``9 min (31 %) of B, 20 s (4 %) of A`` where the shares differ, the largest first."""
    known = [
        (getattr(speed.goodput, field) / speed.goodput.wall_s, getattr(speed.goodput, field), name)
        for name, speed in zip(NAMES, speeds, strict=False)
        if speed.goodput.wall_s
    ]
    shares = [share for share, _, _ in known]
    if len(known) < 2 or max(shares) - min(shares) < SHARE:
        return ""
    return ", ".join(
        f"{duration(seconds)} ({percent(share)}) of {name}"
        for share, seconds, name in sorted(known, reverse=True)
    )
