"""How long a run will take, from what a calibration measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from launcher.core.history.compare import SPEED_KEYS
from launcher.core.run.report_types import Calibrated

Scalar = bool | int | float | str

_ALSO: Final = frozenset(
    {"accumulation_steps", "opt", "freeze", "class_num", "mixup", "cutmix", "random_erasing"}
    | {"eval_image_size", "eval_resize", "eval_dataset_path"}
)
"""Keys that change the time of a step or an evaluation, beside those of a comparison."""


@dataclass(frozen=True)
class Calibration:
    """A few real steps of a profile.

    ``at``: seconds since 1970. ``startup_s``: all but steps. ``feed_images_per_s``: what rank 0's
    threads prepare while all ranks do nothing else.
    """

    profile: str
    run: str
    at: float
    nodes: tuple[str, ...]
    ranks: int
    data_path: str
    startup_s: float
    steps: int
    step_time_ms: float
    steps_per_epoch: int
    evaluation_ms: float
    settings: Mapping[str, Scalar]
    feed_images_per_s: float | None = None

    @property
    def needed_images_per_s(self) -> float:
        """What a rank's steps take."""
        count = int(self.settings["batch_size"]) * int(self.settings["accumulation_steps"])
        return count * 1e3 / self.step_time_ms if self.step_time_ms else 0.0


@dataclass(frozen=True)
class Estimate:
    """``other``: what the calibration had otherwise; then the duration is not comparable."""

    duration_s: float
    epochs: int
    steps: int
    evaluations: int
    calibration: Calibration
    other: tuple[str, ...] = ()


def calibration_of(
    measured: Calibrated,
    *,
    profile: str,
    run: str,
    began: float,
    ended: float,
    nodes: tuple[str, ...],
    ranks: int,
    data_path: str,
    settings: Mapping[str, Scalar],
) -> Calibration:
    """The record of a run that took from ``began`` to ``ended``."""
    step_ms = measured.step_time_ms or 0.0
    return Calibration(
        profile=profile,
        run=run,
        at=ended,
        nodes=nodes,
        ranks=ranks,
        data_path=data_path,
        startup_s=max(0.0, ended - began - measured.steps * step_ms / 1e3),
        steps=measured.steps,
        step_time_ms=step_ms,
        steps_per_epoch=measured.steps_per_epoch or 0,
        evaluation_ms=measured.evaluation_ms or 0.0,
        settings={key: settings[key] for key in sorted(_speed(settings))},
        feed_images_per_s=measured.feed_images_per_s,
    )


def estimate(
    known: Calibration,
    nodes: tuple[str, ...],
    ranks: int,
    data_path: str,
    settings: Mapping[str, Scalar],
) -> Estimate:
    """The duration of a run with ``settings``: start, steps and evaluations; no checkpoints."""
    epochs = int(settings["epoch_size"])
    steps = epochs * known.steps_per_epoch
    count = evaluations(settings)
    places = (
        ("nodes", ", ".join(known.nodes), ", ".join(nodes)),
        ("ranks", known.ranks, ranks),
        ("data", known.data_path, data_path),
    )
    keys = sorted(_speed(settings) | known.settings.keys())
    pairs = (*places, *((key, known.settings.get(key), settings.get(key)) for key in keys))
    other = tuple(f"{key} {before}, now {now}" for key, before, now in pairs if before != now)
    took_ms = steps * known.step_time_ms + count * known.evaluation_ms
    return Estimate(known.startup_s + took_ms / 1e3, epochs, steps, count, known, other)


def evaluations(settings: Mapping[str, Scalar]) -> int:
    """How many a whole run has: every ``interval`` epochs, and after the last."""
    every, first, last = (
        int(settings[key]) for key in ("interval", "eval_start_epoch", "epoch_size")
    )
    if not every or first > last:
        return 0
    return 1 + (last - first) // every + ((last - first) % every > 0)


def _speed(settings: Mapping[str, Scalar]) -> set[str]:
    return {key for key in settings if key in SPEED_KEYS or key in _ALSO}
