"""Make the golden values of the evaluation preprocessing, from timm itself.

Run it in the environment that make_golden.py describes. It writes preprocessing.npz beside
itself: for every recipe and image below, every 401st value of what timm feeds the network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

_declared = torch.library.Library("torchvision", "DEF")
for _operator in ("nms", "qnms"):
    _declared.define(f"{_operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")

from timm.data import create_transform  # noqa: E402

STRIDE = 401
# Odd and even differences, wide and tall, larger and smaller than the crop.
SIZES = ((500, 375), (375, 500), (333, 500), (401, 262), (101, 67), (300, 300), (8, 8))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# name: (crop, resize, interpolation, (mean, std))
RECIPES = {
    "tf_b2": (260, 292, "bicubic", IMAGENET),
    "reference": (260, 280, "bilinear", HALF),
    "b2_288": (288, 288, "bicubic", IMAGENET),
    "digits": (32, 34, "bilinear", HALF),
}


def image(width: int, height: int) -> Image.Image:
    """Waves, so that resizing matters, the same wherever it is made."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    channels = [
        127.5 + 127.5 * np.sin(x * a + y * b) for a, b in ((0.31, 0.05), (0.02, 0.23), (0.9, 0.7))
    ]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def main() -> None:
    golden = {}
    for name, (crop, resize, interpolation, (mean, std)) in RECIPES.items():
        transform = create_transform(
            (3, crop, crop), interpolation=interpolation, crop_pct=crop / resize,
            mean=mean, std=std,
        )  # fmt: skip
        for width, height in SIZES:
            values = transform(image(width, height)).numpy()
            golden[f"{name}/{width}x{height}"] = values.ravel()[::STRIDE]
    np.savez_compressed(Path(__file__).with_name("preprocessing.npz"), **golden)


if __name__ == "__main__":
    main()
