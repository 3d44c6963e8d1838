"""A model's preprocessing and class names: from its metadata, overridden by the user's flags."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from effnet.data import Preprocessing
from effnet.data.preprocess import NORMALIZATION
from effnet.errors import UsageError
from effnet.infer.session import Model, UnreadableModel

RESIZE_SHARE = 280 / 260
"""The reference's, for files without their own."""


def class_names(model: Model) -> tuple[str, ...] | None:
    """In the order of the logits, if the file has them."""
    names = _json(model, "class_names")
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != (model.classes or len(names)):
        raise UnreadableModel(f"{model.path}: its class_names do not fit its output")
    return tuple(map(str, names))


def preprocessing(model: Model, given: Mapping[str, Any]) -> Preprocessing:
    """The file's, with what is `given` (width, height, resize, interpolation, normalization).

    Raises `UsageError` where neither the file nor the flags say the size, or they contradict the
    input's shape.
    """
    stored = _json(model, "preprocessing")
    base = Preprocessing.from_dict(stored) if stored is not None else None
    width = given["width"] or (base and base.width_px) or model.width_px
    height = given["height"] or (base and base.height_px) or model.height_px
    if width is None or height is None:
        raise UsageError(
            f"{model.path} does not say its image size", hint="--width 260 --height 260"
        )
    for name, wanted, own in (
        ("width", width, model.width_px),
        ("height", height, model.height_px),
    ):
        if own is not None and wanted != own:
            raise UsageError(f"{name} {wanted} does not fit {model.path}, whose input has {own}")
    if base is None:
        base = Preprocessing(round(max(width, height) * RESIZE_SHARE), width, height)
    sized = base.at_size(width, height)
    resize = given["resize"] or sized.resize_px
    if resize < max(width, height):
        raise UsageError(f"resize {resize} is less than {width} x {height}: nothing to crop")
    mean, std = NORMALIZATION.get(given["normalization"], (base.mean, base.std))
    interpolation = given["interpolation"] or base.interpolation
    return dataclasses.replace(
        sized, resize_px=resize, interpolation=interpolation, mean=mean, std=std
    )


def _json(model: Model, key: str) -> Any:
    text = model.metadata.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnreadableModel(f"{model.path}: its {key} is not JSON: {error}") from error
