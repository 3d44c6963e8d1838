"""The configuration for a trained network: from its manifest, with the user's changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from effnet import config as configuration
from effnet.config import ConfigError, Problem, Resolved
from effnet.model.scaling import VARIANTS
from effnet.weights.manifest import Manifest

# They follow from the weights and cannot be changed.
_FIXED = {
    "variant": "variant",
    "padding": "padding",
    "class_num": "num_classes",
    "bn_eps": "bn_eps",
}
# Where and how it was trained.
_OF_THE_RUN = frozenset(
    (
        "recipe",
        "dataset_path",
        "eval_dataset_path",
        "save_checkpoint_path",
        "num_workers",
        "mode",
        "jit_level",
        "amp_level",
        "amp_dtype",
        "depthwise",
        "loss_scale",
        "dynamic_loss_scale",
        "report_steps",
        "lr_decay_mode",
    )
)
_SOURCE = "the checkpoint"

# timm's default_cfgs of tf_efficientnet_b0 to b7: eval_image_size as a share of eval_resize.
_CROP_PCT = dict(
    zip(VARIANTS, (0.875, 0.882, 0.890, 0.904, 0.922, 0.934, 0.942, 0.949), strict=True)
)


def config_for(
    manifest: Manifest,
    toml_path: str | None = None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Resolved:
    """The manifest's configuration with a file, `key=value` texts and flags laid over it.

    Another `eval_image_size` changes `eval_resize` in proportion. Raises `ConfigError`, also
    for a value that the weights cannot have.
    """
    base, notes = _base(manifest)
    sets = list(sets)

    def resolve() -> Resolved:
        return configuration.resolve(None, toml_path, sets, flags, base=base, base_name=_SOURCE)

    # First without them, to see which values follow from the user's.
    batch_size, target = base.pop("batch_size", None), base.get("device_target")
    resize_px, crop_pct = base.pop("eval_resize", None), base.pop("crop_pct", 0.0)
    resolved = resolve()
    # A batch for an accelerator is more than a CPU's memory may hold.
    if batch_size and resolved.config.device_target == target:
        base["batch_size"] = batch_size
    if _left_open(resolved, "eval_resize") and _left_open(resolved, "crop_pct"):
        size_px = base.get("eval_image_size")
        if crop_pct > 0:
            base["crop_pct"] = crop_pct
        elif resize_px and size_px:
            base["eval_resize"] = round(resolved.config.eval_image_size * resize_px / size_px)
    resolved = resolve()
    problems = [
        Problem(resolved.sources[key], f"{key} is {wanted!r}, the checkpoint's is {own!r}")
        for key, attribute in _FIXED.items()
        if (wanted := getattr(resolved.config, key)) != (own := getattr(manifest, attribute))
    ]
    if problems:
        raise ConfigError(problems)
    return Resolved(resolved.config, resolved.sources, (*notes, *resolved.notes))


def _left_open(resolved: Resolved, key: str) -> bool:
    return resolved.sources[key].startswith(("default", "from"))


def _base(manifest: Manifest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Keys that the manifest has, or that follow from where the weights came from."""
    own = {key: getattr(manifest, attribute) for key, attribute in _FIXED.items()}
    known = configuration.keys()
    trained = manifest.extra.get("config")
    if isinstance(trained, Mapping):
        kept = {k: v for k, v in trained.items() if k in known and k not in _OF_THE_RUN}
        return {**kept, **own}, ()
    if manifest.source not in ("timm", "torchvision"):
        return {**own, "eval_image_size": VARIANTS[manifest.variant].resolution_px}, ()
    assumed = {
        "eval_image_size": VARIANTS[manifest.variant].resolution_px,
        "crop_pct": _CROP_PCT[manifest.variant],
        "interpolation": "bicubic",
        "normalization": "imagenet",
    }
    texts = ", ".join(f"{key} {value}" for key, value in assumed.items())
    return {**own, **assumed}, (
        f"the checkpoint was imported from {manifest.source} and does not say its preprocessing;"
        f" assumed unless set: {texts}",
    )
