"""The metadata of an exported file."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from effnet import __version__
from effnet.data import Preprocessing
from effnet.weights.manifest import Manifest

INPUT, OUTPUT = "image", "logits"


@dataclasses.dataclass(frozen=True)
class Record:
    """The network's origin, and what must be done to an image before it."""

    variant: str
    padding: str
    num_classes: int
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing
    checkpoint_sha256: str
    weights: str
    step: int | None
    epoch: int | None

    @classmethod
    def of(cls, manifest: Manifest, preprocessing: Preprocessing, weights: str) -> Record:
        names = manifest.extra.get("class_names")
        return cls(
            manifest.variant,
            manifest.padding,
            manifest.num_classes,
            None if names is None else tuple(map(str, names)),
            preprocessing,
            manifest.sha256,
            weights,
            manifest.extra.get("step"),
            manifest.extra.get("epoch"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; what is not known is left out."""
        values = dataclasses.asdict(self) | {"preprocessing": self.preprocessing.to_dict()}
        known = {key: value for key, value in values.items() if value is not None}
        return {"producer": f"effnet {__version__}", **known}

    def to_metadata(self) -> dict[str, str]:
        """The same for ONNX, whose values are texts: JSON, except where it is a text already."""
        return {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in self.to_dict().items()
        }
