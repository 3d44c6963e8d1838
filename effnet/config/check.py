"""Checks that involve several keys: contradictions and unusual combinations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from effnet.config.defaults import IMAGES_PER_STEP
from effnet.config.schema import TrainConfig
from effnet.config.values import Problem
from effnet.model.scaling import blocks


def problems_of(config: TrainConfig, sources: Mapping[str, str]) -> Iterator[Problem]:
    """Every contradiction; ``sources`` say where the keys came from."""
    c = config

    def at(*names: str) -> str:
        return " and ".join(dict.fromkeys(sources[name] for name in names))

    if c.warmup_epochs > c.epoch_size:
        yield Problem(
            at("warmup_epochs", "epoch_size"),
            f"warmup_epochs ({c.warmup_epochs:g}) is more than epoch_size ({c.epoch_size})",
        )
    if c.freeze.startswith("blocks:"):
        count, wanted = len(blocks(c.variant)), int(c.freeze.partition(":")[2])
        if wanted > count:
            yield Problem(at("freeze"), f"freeze {c.freeze}: {c.variant} has {count} blocks")
    if c.amp_dtype == "bfloat16" and c.device_target != "Ascend":
        yield Problem(
            at("amp_dtype", "device_target"),
            f"amp_dtype bfloat16: MindSpore has bfloat16 operators for Ascend only, not for a"
            f" {c.device_target}; set amp_dtype = float16",
        )
    if c.jit_level == "O2" and (c.device_target != "Ascend" or c.mode != "graph"):
        yield Problem(
            at("jit_level", "device_target", "mode"),
            f"jit_level O2 is CANN's graph engine: it needs device_target Ascend and mode graph,"
            f" this run has {c.device_target} and {c.mode}; set jit_level = auto",
        )
    on_cpu = ("fused", "compiled", "tiled")
    if c.depthwise in on_cpu and (c.device_target != "CPU" or c.amp_level != "O0"):
        yield Problem(
            at("depthwise", "device_target", "amp_level"),
            f"depthwise {c.depthwise} is for device_target CPU and amp_level O0: set it to plain",
        )
    if c.depthwise == "fused" and c.freeze != "none":
        yield Problem(
            at("depthwise", "freeze"),
            f"depthwise fused trains every part, freeze is {c.freeze}: set depthwise = compiled",
        )
    for least, greatest in (
        *((("lr_init", "lr_max"), ("lr_end", "lr_max")) if not c.lr_per_256 else ()),
        ("crop_scale_min", "crop_scale_max"),
        ("crop_ratio_min", "crop_ratio_max"),
    ):
        low, high = getattr(c, least), getattr(c, greatest)
        if low > high:
            yield Problem(at(least, greatest), f"{least} ({low:g}) is above {greatest} ({high:g})")
    if c.eval_resize < c.eval_image_size:
        yield Problem(
            at("eval_resize", "eval_image_size"),
            f"eval_resize ({c.eval_resize} px) is less than eval_image_size"
            f" ({c.eval_image_size} px): set it to at least that",
        )
    elif c.crop_pct > 0 and c.eval_resize != math.floor(c.eval_image_size / c.crop_pct):
        yield Problem(
            at("crop_pct", "eval_resize"),
            f"crop_pct {c.crop_pct:g} of {c.eval_image_size} px means an eval_resize of"
            f" {math.floor(c.eval_image_size / c.crop_pct)} px, not {c.eval_resize}; set only one",
        )


def rate_remarks(config: TrainConfig, sources: Mapping[str, str], world_size: int) -> Iterator[str]:
    """A default learning rate that is for a much larger or smaller step than this run's."""
    meant, images = IMAGES_PER_STEP[config.device_target], config.images_per_step * world_size
    is_default = sources["lr_max"].startswith("default of") and not config.lr_per_256
    if is_default and not meant / 2 <= images <= meant * 2:
        yield (
            f"lr_max {config.lr_max:g} ({sources['lr_max']}) is for {meant} images a step, this run"
            f" has {images}: set lr_max = {config.lr_max * images / meant:.3g}, or"
            f" lr_per_256 = {config.lr_max * 256 / meant:.3g} for any number"
        )


def remarks_on(config: TrainConfig, sources: Mapping[str, str]) -> Iterator[str]:
    """Combinations that are allowed but probably not intended."""
    c = config
    if c.device_target == "CPU" and c.amp_level != "O0":
        yield f"amp_level {c.amp_level}: float16 is emulated on a CPU, much slower than O0"
    if c.device_target == "CPU" and c.mode == "graph":
        yield "mode graph: on a CPU the first step compiles for a minute and later ones gain little"
    if c.lr_decay_mode == "steps" and c.warmup_epochs > 0:
        yield "lr_decay_mode steps has no warm-up (as in the reference): warmup_epochs is ignored"
    if c.save_best_ckpt and c.interval == 0 and not sources["interval"].startswith("default"):
        yield "interval 0: nothing is evaluated, so there is no best checkpoint to keep"
    if c.amp_level == "O0" and c.amp_dtype == "bfloat16":
        yield "amp_dtype bfloat16 has no effect: amp_level O0 computes in float32"
    if c.amp_level != "O0" and c.amp_dtype == "float16" and not c.dynamic_loss_scale:
        yield (
            "dynamic_loss_scale false: steps whose gradients overflow in float16 are not detected"
        )
    if c.loss_scale > 1 and c.amp_level == "O0" and not c.dynamic_loss_scale:
        yield f"loss_scale {c.loss_scale:g}: float32 (amp_level O0) does not need it; set it to 1"
