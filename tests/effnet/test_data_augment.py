"""Each augmentation by itself, and that all of it is a function of seed, epoch and index."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from effnet.config import resolve
from effnet.data.augment.augmentation import Augmentation, ColorJitter, Flip
from effnet.data.augment.crop import random_crop_box
from effnet.data.augment.reference_policy import OPERATIONS, REFERENCE, Policy
from effnet.data.pixels import transforms
from effnet.data.rng import stream


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))


@given(st.integers(0, 10_000), st.integers(1, 600), st.integers(1, 600))
def test_crop_lies_in_the_image(seed: int, width: int, height: int) -> None:
    box = random_crop_box(stream("t", seed), width, height, (0.08, 1.0), (0.75, 4 / 3))
    left, top, right, bottom = box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_crops_have_the_requested_areas_and_shapes() -> None:
    boxes = [
        random_crop_box(stream("t", i), 1000, 1000, (0.08, 1.0), (0.75, 4 / 3)) for i in range(4000)
    ]
    w, h = np.array([(r - x, b - y) for x, y, r, b in boxes]).T
    area, ratio = w * h / 1e6, w / h
    assert 0.079 < area.min() < 0.1
    assert area.max() > 0.95
    assert ratio.min() > 0.745
    assert ratio.max() < 1.34
    assert abs(float(np.log(ratio).mean())) < 0.02
    centre = np.array([(x + r) / 2 for x, _, r, _ in boxes]).mean()
    assert abs(centre - 500) < 10


def test_crop_of_a_strip_is_its_middle() -> None:
    assert random_crop_box(stream("t"), 1000, 10, (1.0, 1.0), (0.75, 4 / 3)) == (493, 0, 506, 10)
    assert random_crop_box(stream("t"), 10, 1000, (1.0, 1.0), (0.75, 4 / 3)) == (0, 493, 10, 506)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(0, 255), st.integers(1, 256),
    st.floats(0, 2),
)  # fmt: skip
def test_transforms_equal_those_of_pillow(
    w: int, h: int, low: int, span: int, factor: float
) -> None:
    rng = np.random.default_rng(w * 100 + h)
    high = min(256, low + span)
    image = Image.fromarray(rng.integers(low, max(low + 1, high), (h, w, 3)).astype(np.uint8))
    assert same(transforms.equalize(image), ImageOps.equalize(image))
    assert same(transforms.invert(image), ImageOps.invert(image))
    assert same(transforms.flip(image), ImageOps.mirror(image))
    for bits in (1, 2, 4, 8):
        assert same(transforms.posterize(image, bits), ImageOps.posterize(image, bits))
    for ours, theirs in (
        (transforms.brightness, ImageEnhance.Brightness),
        (transforms.contrast, ImageEnhance.Contrast),
        (transforms.saturation, ImageEnhance.Color),
        (transforms.sharpness, ImageEnhance.Sharpness),
    ):
        assert same(ours(image, factor), theirs(image).enhance(factor))


def test_solarize_inverts_a_range_only() -> None:
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (2, 1, 3)))
    got = np.asarray(transforms.solarize_between(ramp, 10, 20))[0, :, 0]
    want = np.arange(256)
    want[10:21] = 255 - want[10:21]
    np.testing.assert_array_equal(got, want)


def test_rotation_and_shear_turn_about_the_middle() -> None:
    image = Image.new("RGB", (31, 31))
    image.putpixel((15, 15), (255, 255, 255))
    for turned in (image.rotate(27), transforms.shear_x(image, 20)):
        assert turned.getpixel((15, 15)) == (255, 255, 255)
    column = Image.fromarray(np.pad(np.full((31, 1, 3), 255, np.uint8), ((0, 0), (15, 15), (0, 0))))
    sheared = np.asarray(transforms.shear_x(column, 45))[:, :, 0]
    assert sheared[0].argmax() > 15 > sheared[-1].argmax()


def test_policy_is_the_references_table() -> None:
    assert len(REFERENCE) == 25
    assert all(len(pair) == 2 for pair in REFERENCE)
    names = [name for pair in REFERENCE for name, _, _ in pair]
    assert set(names) == set(OPERATIONS)
    assert names.count("equalize") == 17
    assert names.count("posterize") == 5
    assert REFERENCE[0] == (("posterize", 8, 0.4), ("rotate", 9, 0.6))
    assert REFERENCE[18] == (("shear_x", 5, 0.6), ("equalize", 0, 1.0))


@pytest.mark.parametrize(
    ("name", "level", "want"),
    [
        ("posterize", 8, lambda i: ImageOps.posterize(i, 1)),
        ("posterize", 5, lambda i: ImageOps.posterize(i, 2)),
        ("colour", 0, lambda i: ImageEnhance.Color(i).enhance(0.1)),
        ("contrast", 8, lambda i: ImageEnhance.Contrast(i).enhance(8 * 1.8 / 10 + 0.1)),
        ("sharpness", 7, lambda i: ImageEnhance.Sharpness(i).enhance(7 * 1.8 / 10 + 0.1)),
        ("autocontrast", 5, ImageOps.autocontrast),
        ("equalize", 0, ImageOps.equalize),
        ("invert", 0, ImageOps.invert),
    ],
)
def test_operation_at_its_level(name: str, level: int, want) -> None:
    image = noise(20, 30)
    assert same(OPERATIONS[name](image, level, stream("t")), want(image))


def test_rotation_turns_either_way_by_its_level() -> None:
    image = noise(20, 30)
    either = [image.rotate(27), image.rotate(-27)]
    seen = set()
    for i in range(20):
        got = OPERATIONS["rotate"](image, 9, stream("t", i))
        seen.add([same(got, one) for one in either].index(True))
    assert seen == {0, 1}


def test_policy_draws_evenly_with_its_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(OPERATIONS, 0)
    for name in counts:

        def note(image, level, rng, name=name):
            counts[name] += 1
            return image

        monkeypatch.setitem(OPERATIONS, name, note)
    choices = tuple(((name, 0, float(i % 2)),) for i, name in enumerate(OPERATIONS))
    image = noise(4, 4)
    for i in range(2000):
        Policy(choices)(image, stream("t", i))
    for i, name in enumerate(OPERATIONS):
        assert (120 < counts[name] < 280) if i % 2 else counts[name] == 0


def test_flip_and_jitter_follow_their_settings() -> None:
    image = noise(9, 7)
    assert same(Flip(1.0)(image, stream("t")), ImageOps.mirror(image))
    assert same(Flip(0.0)(image, stream("t")), image)
    flips = sum(not same(Flip(0.5)(image, stream("t", i)), image) for i in range(400))
    assert 150 < flips < 250
    assert same(ColorJitter(0.0)(image, stream("t")), image)
    levels = [
        int(
            np.asarray(ColorJitter(0.4)(Image.new("RGB", (2, 2), (100,) * 3), stream("t", i))).max()
        )
        for i in range(300)
    ]
    assert 59 <= min(levels) < 65
    assert 135 < max(levels) <= 140


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        ([], ["hflip", "auto_augment", "color_jitter"]),
        (["hflip=0", "auto_augment=none", "color_jitter=0"], []),
        (["auto_augment=none"], ["hflip", "color_jitter"]),
    ],
)
def test_steps_are_those_the_configuration_names(sets: list[str], names: list[str]) -> None:
    augmentation = Augmentation.from_config(resolve("CPU", sets=sets).config)
    assert [name for name, _ in augmentation.before] == names
    assert augmentation.after == ()


def test_steps_have_their_place_before_and_after_normalisation() -> None:
    """Random erasing will be one of `after`: it works on the normalised array, in place."""
    config = resolve("CPU", sets=["image_size=8", "hflip=0", "auto_augment=none", "color_jitter=0"])
    plain = Augmentation.from_config(config.config)

    def erase(array: np.ndarray, rng: np.random.Generator) -> None:
        array[:, :2, :2] = 7.0

    both = dataclasses.replace(
        plain, before=(("invert", lambda i, rng: transforms.invert(i)),), after=(("erase", erase),)
    )
    out, want = (np.empty((3, 8, 8), np.float32) for _ in range(2))
    image = noise(8, 8)
    both.finish_into(out, image, (0, 0, 8, 8), stream("t"))
    plain.finish_into(want, transforms.invert(image), (0, 0, 8, 8), stream("t"))
    want[:, :2, :2] = 7.0
    np.testing.assert_array_equal(out, want)
