"""A checkpoint's weights, and networks that have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from effnet import missing
from effnet.weights.files import UnreadableWeights
from effnet.weights.manifest import Manifest, verify

if TYPE_CHECKING:
    from effnet.model.efficientnet import EfficientNet


def find(checkpoint: str | os.PathLike[str]) -> tuple[Path, Manifest]:
    """The file itself, behind links such as `model_0/Efficientnet_b2-rank0-1_44.ckpt`, verified.

    It does not load MindSpore. Raises `UnreadableWeights`, `ManifestMissing`, `ManifestInvalid`,
    `CheckpointCorrupt`.
    """
    path = Path(os.path.realpath(checkpoint))
    if not path.is_file():
        given = os.fspath(checkpoint)
        raise UnreadableWeights(f"{given}: no such file", hint=missing.hint(given))
    return path, verify(path)


@dataclass(frozen=True)
class Trained:
    """`weights` says which they are: `model`, or `ema`, the moving average."""

    manifest: Manifest
    tensors: Mapping[str, NDArray[np.float32]]
    weights: str

    @classmethod
    def read(cls, path: Path, manifest: Manifest, weights: str | None = None) -> Trained:
        """Read the checkpoint that `find` returned; by default the moving average if there is one.

        Raises `UnreadableWeights`, also if `weights` is `ema` and there is none.
        """
        from effnet.weights.files import read_tensors
        from effnet.weights.transfer import choose

        return cls(manifest, *choose(path, read_tensors(path), weights))

    def network(self) -> EfficientNet:
        """A fresh network in evaluation mode; raises `WeightsMismatch`."""
        from effnet.model.efficientnet import EfficientNet
        from effnet.weights.transfer import load_into

        manifest = self.manifest
        net = EfficientNet(
            manifest.variant, manifest.num_classes, manifest.padding, bn_eps=manifest.bn_eps
        )
        load_into(net, self.tensors)
        net.set_train(False)
        return net
