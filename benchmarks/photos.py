"""JPEGs like photographs in size and detail, made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

DRAWN = 256
"""Different images at most: more are links to these, for drawing takes longer than decoding."""


def write_jpegs(folder: Path, count: int, classes: int = 10) -> None:
    """``count`` files of 500 x 375 px, about 90 kB each, smooth noise; in class folders, if any."""
    rng = np.random.default_rng(0)
    drawn: list[Path] = []
    for i in range(count):
        into = folder / f"class{i % classes}" if classes else folder
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{i:05d}.jpg"
        if i >= DRAWN:
            os.link(drawn[i % DRAWN], path)
            continue
        _draw(rng, i).save(path, quality=92)
        drawn.append(path)


def _draw(rng: np.random.Generator, i: int) -> Image.Image:
    width, height = (500, 375) if i % 4 else (375, 500)
    pixels = np.full((height, width, 3), 120.0)
    for cells, spread in ((4, 60), (16, 40), (64, 30), (256, 8)):
        for channel in range(3):
            coarse = rng.normal(0, spread, (height * cells // 256 + 2, width * cells // 256 + 2))
            smooth = Image.fromarray(coarse.astype(np.float32)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
            pixels[..., channel] += np.asarray(smooth)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
