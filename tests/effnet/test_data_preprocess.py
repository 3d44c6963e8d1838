"""Evaluation preprocessing against timm's own values, and its record."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effnet.config import resolve
from effnet.data import Preprocessing
from effnet.errors import EffnetError

GOLDEN = Path(__file__).parent / "golden"
STRIDE = 401
MEANS = {"imagenet": (0.485, 0.456, 0.406), "half": (0.5, 0.5, 0.5)}
RECIPES = {
    "tf_b2": "eval_image_size=260 crop_pct=0.89 interpolation=bicubic normalization=imagenet",
    "reference": "eval_image_size=260",
    "b2_288": "eval_image_size=288 crop_pct=1 interpolation=bicubic normalization=imagenet",
    "digits": "eval_image_size=32",
}


def waves(width: int, height: int) -> Image.Image:
    """The image of golden/make_preprocessing.py."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    channels = [
        127.5 + 127.5 * np.sin(x * a + y * b) for a, b in ((0.31, 0.05), (0.02, 0.23), (0.9, 0.7))
    ]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN / "preprocessing.npz") as file:
        return dict(file)


@pytest.mark.parametrize("recipe", RECIPES)
def test_feeds_the_network_like_timm(golden: dict[str, Any], recipe: str) -> None:
    config = resolve("CPU", sets=RECIPES[recipe].split()).config
    preprocessing = Preprocessing.from_config(config)
    seen = 0
    for key, want in golden.items():
        name, size = key.split("/")
        if name == recipe:
            width, height = map(int, size.split("x"))
            got = preprocessing.apply(waves(width, height)).ravel()[::STRIDE]
            np.testing.assert_allclose(got, want, atol=1e-6, err_msg=key)
            seen += 1
    assert seen == 7


def test_timms_crop_of_b2_is_292_pixels() -> None:
    assert resolve("CPU", sets=["eval_image_size=260", "crop_pct=0.89"]).config.eval_resize == 292


def test_record_round_trips_and_repeats_the_preprocessing() -> None:
    made = Preprocessing(40, 36, 32, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    plain = made.to_dict()
    again = Preprocessing.from_dict(ast.literal_eval(repr(plain)))
    assert again == made
    image = waves(50, 70)
    out = again.apply(image)
    assert out.shape == (3, 32, 36)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, made.apply(image))


def test_pixels_map_to_minus_one_to_one() -> None:
    preprocessing = Preprocessing(8, 8, 8)
    for level, want in ((0, -1.0), (255, 1.0)):
        image = Image.new("RGB", (8, 8), (level, level, level))
        np.testing.assert_allclose(preprocessing.apply(image), want, atol=1e-6)


@pytest.mark.parametrize("broken", [{}, {"mean": [0], "std": [1], "interpolation": "nearest"}])
def test_refuses_invalid_records(broken: dict[str, Any]) -> None:
    with pytest.raises(EffnetError, match="preprocessing"):
        Preprocessing.from_dict(broken)
