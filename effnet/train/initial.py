"""The network that a run begins with, and its weights from the key `weights`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effnet.config import TrainConfig
from effnet.errors import UsageError
from effnet.model.efficientnet import EfficientNet
from effnet.model.freeze import HEAD
from effnet.weights import trained
from effnet.weights.manifest import Manifest
from effnet.weights.transfer import load_into


def network(config: TrainConfig) -> EfficientNet:
    """A new one, with first values from the configuration's seed. Raises `InvalidModel`."""
    return EfficientNet(
        config.variant,
        config.class_num,
        config.padding,
        dropout=config.dropout,
        drop_path=config.drop_path,
        bn_momentum=config.bn_momentum,
        bn_eps=config.bn_eps,
        seed=config.seed,
    )


def load(net: EfficientNet, config: TrainConfig, classes: Sequence[str]) -> tuple[str, ...]:
    """Load `config.weights`; the classifier too if it is for `classes`. -> notes for the user.

    Raises `UsageError` for another variant, and what `trained.find` and `load_into` do.
    """
    path, manifest = trained.find(Path(config.weights).expanduser())
    if manifest.variant != config.variant:
        raise UsageError(
            f"weights {config.weights}: of variant {manifest.variant}, this run has"
            f" {config.variant}",
            hint=f"set variant = {manifest.variant}",
        )
    found = trained.Trained.read(path, manifest)
    tensors = dict(found.tensors)
    average = "the moving average of " if found.weights == "ema" else ""
    why = _other_classes(manifest, config, classes)
    if why:
        own = {p.name: p.asnumpy() for p in net.get_parameters() if p.name.startswith(HEAD)}
        load_into(net, tensors | own)
        notes = [f"weights: {average}{config.weights} without the classifier: {why}"]
    else:
        load_into(net, tensors)
        notes = [f"weights: {average}{config.weights}"]
    for key in ("padding", "bn_eps"):
        before, now = getattr(manifest, key), getattr(config, key)
        if before != now:
            notes.append(
                f"weights: trained with {key} {before}, this run has {now}: set {key} = {before}"
                " unless this is intended"
            )
    return tuple(notes)


def _other_classes(manifest: Manifest, config: TrainConfig, classes: Sequence[str]) -> str:
    """Why the classifier is for other classes; empty if it is not, as far as is known."""
    if manifest.num_classes != config.class_num:
        return f"it has {manifest.num_classes} classes, class_num is {config.class_num}"
    names = manifest.extra.get("class_names")
    if isinstance(names, list) and names != list(classes):
        return "its classes have other names"
    return ""
