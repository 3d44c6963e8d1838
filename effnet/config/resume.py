"""Can a run that was started with one configuration continue with another?"""

from __future__ import annotations

import dataclasses
from typing import Any

from effnet.config.keys import Resume
from effnet.config.schema import TrainConfig, keys

_WHY = {
    Resume.FIXED: "the saved state does not fit it",
    Resume.ORDER: "the position in the data would refer to other images",
    Resume.CURVE: "the run continues, but its curve is not that of an uninterrupted run",
    Resume.FREE: "changes nothing that is computed",
}
_SCHEDULE = (
    "epoch_size", "warmup_epochs", "lr_decay_mode", "lr_init", "lr_max", "lr_end", "lr_per_256",
    "lr_decay_epochs", "lr_decay_rate",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Difference:
    """One key with another value than the checkpoint's, and what that means."""

    key: str
    old: Any
    new: Any
    verdict: Resume
    why: str

    @property
    def refused(self) -> bool:
        """Whether the run can't continue with it."""
        return self.verdict in (Resume.FIXED, Resume.ORDER)

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} in the checkpoint, {self.new!r} now: {self.why}"


def differences(
    old: TrainConfig, new: TrainConfig, *, old_world_size: int = 1, new_world_size: int = 1
) -> tuple[Difference, ...]:
    """Every key that differs, in the order of the schema, then the world size.

    The order of the images follows from the seed and the images of a step, so another number of
    ranks can continue when batch_size x accumulation_steps x ranks stays the same.
    """
    found = []
    images = old.images_per_step * old_world_size, new.images_per_step * new_world_size
    same_batches = images[0] == images[1]
    other_parts = "the global batch is the same; batch norm sees other parts of it"
    for name, key in keys().items():
        before, now = getattr(old, name), getattr(new, name)
        if before == now:
            continue
        verdict, why = key.resume, _WHY[key.resume]
        if name in ("batch_size", "accumulation_steps") and same_batches:
            verdict, why = Resume.CURVE, other_parts
        elif name == "ema_decay" and 0 in (before, now):
            verdict, why = Resume.FIXED, "only one of the two has a moving average"
        elif name in _SCHEDULE:
            why = "the learning rate follows the new schedule from here on"
        found.append(Difference(name, before, now, verdict, why))
    if old_world_size != new_world_size:
        verdict, why = Resume.CURVE, other_parts
        if not same_batches:
            change = f"{images[0]} images a step, now {images[1]}"
            verdict, why = Resume.ORDER, f"{change}: {_WHY[Resume.ORDER]}"
        found.append(Difference("world size", old_world_size, new_world_size, verdict, why))
    return tuple(found)
