"""Defaults of each target, and values that follow from other keys unless they are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from effnet.config.schema import TrainConfig, as_dict

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

# Paper, table of coefficients in TF's efficientnet_builder.py: resolution and dropout.
OF_VARIANT: Mapping[str, tuple[int, float]] = {
    "b0": (224, 0.2),
    "b1": (240, 0.2),
    "b2": (260, 0.3),
    "b3": (300, 0.3),
    "b4": (380, 0.4),
    "b5": (456, 0.4),
    "b6": (528, 0.5),
    "b7": (600, 0.5),
}

# timm's and torchvision's symmetric nets have PyTorch's epsilon, TF's have its own.
BN_EPS: Mapping[str, float] = {"symmetric": 1e-5, "same": 1e-3}


def defaults_for(target: str) -> dict[str, Any]:
    """Every key's value on ``target`` before anything is set."""
    values = as_dict(TrainConfig())
    values.update(CHANGES[target], device_target=target)
    return values


def derived(values: Mapping[str, Any], chosen: set[str]) -> dict[str, tuple[Any, str]]:
    """Values of the keys not in ``chosen`` that follow from others: key to (value, reason).

    ``values`` are valid one by one; ``chosen`` names the keys that were set.
    """
    found: dict[str, tuple[Any, str]] = {}
    size, dropout = OF_VARIANT[values["variant"]]
    variant = f"variant {values['variant']}"
    if "warmup_epochs" not in chosen and values["warmup_epochs"] > values["epoch_size"]:
        found["warmup_epochs"] = (float(values["epoch_size"]), "epoch_size")
    if "dropout" not in chosen:
        found["dropout"] = (dropout, variant)
    if "bn_eps" not in chosen:
        found["bn_eps"] = (BN_EPS[values["padding"]], f"padding {values['padding']}")
    if "image_size" not in chosen:
        target = values["device_target"]
        own = "image_size" in CHANGES[target]
        found["image_size"] = (
            (CHANGES[target]["image_size"], f"default of {target}") if own else (size, variant)
        )
    train_size = found.get("image_size", (values["image_size"], ""))[0]
    if "eval_image_size" not in chosen:
        found["eval_image_size"] = (train_size, "image_size")
    eval_size = found.get("eval_image_size", (values["eval_image_size"], ""))[0]
    if "eval_resize" not in chosen:
        if values["crop_pct"] > 0:
            found["eval_resize"] = (math.floor(eval_size / values["crop_pct"]), "crop_pct")
        else:
            found["eval_resize"] = (round(eval_size * 280 / 260), "eval_image_size x 280/260")
    return found
