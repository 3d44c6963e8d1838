"""The metadata of an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from effnet import __version__
from effnet.data import Preprocessing
from effnet.weights.manifest import Manifest

INPUT, OUTPUT = "image", "logits"


def record_of(manifest: Manifest, preprocessing: Preprocessing, weights: str) -> dict[str, Any]:
    """The network's origin, and what must be done to an image before it, as values for JSON.

    What is not known is left out.
    """
    names = manifest.extra.get("class_names")
    values = {
        "producer": f"effnet {__version__}",
        "variant": manifest.variant,
        "padding": manifest.padding,
        "num_classes": manifest.num_classes,
        "class_names": None if names is None else [str(name) for name in names],
        "preprocessing": preprocessing.to_dict(),
        "checkpoint_sha256": manifest.sha256,
        "weights": weights,
        "step": manifest.extra.get("step"),
        "epoch": manifest.extra.get("epoch"),
    }
    return {key: value for key, value in values.items() if value is not None}


def metadata_of(record: Mapping[str, Any]) -> dict[str, str]:
    """`record` for ONNX, whose values are texts: JSON, except where it is a text already."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in record.items()
    }
