"""Defaults of each target, and values that follow from other keys unless they are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from effnet.config.schema import TrainConfig, as_dict
from effnet.model.scaling import BN_EPS, VARIANTS

# What a target changes of the dataclass's own values, which are the reference's for Ascend.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "Ascend": {},
    # The reference's config_gpu: 0.092 is 0.13 / sqrt 2, for half the batch.
    "GPU": {"batch_size": 128, "lr_init": 7e-5, "lr_max": 0.092, "lr_end": 7e-6},
    # Small enough to watch: 2 ranks x 16 images is 1/64 of the reference's global batch, and so
    # are the learning rates. float16 on a CPU is emulated, much slower than float32.
    "CPU": {
        "batch_size": 16,
        "epoch_size": 20,
        "lr_init": 1.5e-6,
        "lr_max": 0.002,
        "lr_end": 1.5e-7,
        "image_size": 64,
        "amp_level": "O0",
        "loss_scale": 1.0,
        "mode": "jit",
        "report_steps": 1,
    },
}

IMAGES_PER_STEP = {"Ascend": 2048, "GPU": 1024, "CPU": 32}
"""What the lr_max of each target is made for, on all ranks together."""


def defaults_for(target: str) -> dict[str, Any]:
    """Every key's value on ``target`` before anything is set."""
    values = as_dict(TrainConfig())
    values.update(CHANGES[target], device_target=target)
    return values


def derived(values: Mapping[str, Any], chosen: set[str]) -> dict[str, tuple[Any, str]]:
    """Values of the keys not in ``chosen`` that follow from others: key to (value, reason).

    ``values`` are valid one by one; ``chosen`` names the keys that were set.
    """
    values, found = dict(values), dict[str, tuple[Any, str]]()

    def follow(name: str, value: Any, reason: str) -> None:
        if name not in chosen:
            values[name] = value
            found[name] = (value, reason)

    if values["warmup_epochs"] > values["epoch_size"]:
        follow("warmup_epochs", float(values["epoch_size"]), "epoch_size")
    scale, target = VARIANTS[values["variant"]], values["device_target"]
    variant = f"variant {scale.name}"
    follow("dropout", scale.dropout, variant)
    if values["amp_level"] == "O0":
        follow("dynamic_loss_scale", False, "amp_level O0")
    elif values["amp_dtype"] == "bfloat16":
        follow("dynamic_loss_scale", False, "amp_dtype bfloat16")
        follow("loss_scale", 1.0, "amp_dtype bfloat16")
    if target != "CPU":
        follow("depthwise", "plain", f"device_target {target}")
    elif values["amp_level"] != "O0":
        follow("depthwise", "plain", f"amp_level {values['amp_level']}")
    if values["opt"] == "adamw":
        follow("opt_eps", 1e-8, "opt adamw")
        follow("opt_decay", 0.999, "opt adamw")
    follow("bn_eps", BN_EPS[values["padding"]], f"padding {values['padding']}")
    if "image_size" in CHANGES[target]:
        follow("image_size", CHANGES[target]["image_size"], f"default of {target}")
    else:
        follow("image_size", scale.resolution_px, variant)
    follow("eval_image_size", values["image_size"], "image_size")
    size_px = values["eval_image_size"]
    if values["crop_pct"] > 0:
        follow("eval_resize", math.floor(size_px / values["crop_pct"]), "crop_pct")
    else:
        follow("eval_resize", round(size_px * 280 / 260), "eval_image_size x 280/260")
    return found
