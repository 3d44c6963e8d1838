"""Images that the compiled form prepares have the bits of Pillow and NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from effnet.config import resolve
from effnet.data import Preprocessing
from effnet.data.augment.augmentation import Augmentation
from effnet.data.pixels import compiled, transforms
from effnet.data.pixels.plan import Plan
from effnet.data.rng import stream
from effnet.kernels import build
from effnet.kernels.input import CODES, Target, load

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
SIDE = st.integers(1, 70)


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Noise, or a few wide steps of colour, where neighbours are equal."""
    rng = np.random.default_rng(seed)
    cell = 1 if seed % 2 else 16
    shape = (-(-height // cell), -(-width // cell), 3)
    low, high = sorted(rng.integers(0, 256, 2).tolist())
    pixels = rng.integers(low, high + 1, shape).astype(np.uint8)
    return Image.fromarray(pixels.repeat(cell, 0).repeat(cell, 1)[:height, :width])


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch):
    """A function that calls another one with the form of Pillow."""
    assert compiled.reason() is None

    def called(function, *given):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "form", lambda: None)
            return function(*given)

    return called


def augmented(augmentation: Augmentation, image: Image.Image, seed: int) -> np.ndarray:
    out = np.full((3, augmentation.size_px, augmentation.size_px), np.nan, np.float32)
    rng = stream("t", seed)
    box = augmentation.box(rng, *image.size)
    augmentation.finish_into(out, image, box, rng)
    return out


@pytest.mark.parametrize(
    "sets",
    [
        ["auto_augment=reference"],
        ["recipe=ra", "random_erasing=0.5"],
        ["auto_augment=rand-m9-n4-p1-mstd2", "normalization=imagenet", "color_jitter=0"],
    ],
)
def test_augmented_images_are_those_of_pillow(sets: list[str], by_pillow) -> None:
    for seed in range(120):
        size = 1 + seed % 47
        config = resolve("CPU", sets=[*sets, f"image_size={max(size, 8)}"]).config
        augmentation = dataclasses.replace(Augmentation.from_config(config), size_px=size)
        image = picture(1 + seed * 13 % 83, 1 + seed * 7 % 61, seed)
        got = augmented(augmentation, image, seed)
        np.testing.assert_array_equal(got, by_pillow(augmented, augmentation, image, seed))


@settings(max_examples=150, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.booleans(), st.integers(0, 99), st.tuples(*[st.floats(0, 1)] * 4))
def test_any_part_is_resized_to_any_size_as_pillow_does(
    w: int, h: int, to_w: int, to_h: int, is_bicubic: bool, seed: int, at: tuple[float, ...]
) -> None:
    left, right = sorted(at[:2])
    top, bottom = sorted(at[2:])
    # Pillow knows no empty part.
    box = (left * (w - 1), top * (h - 1), 1 + right * (w - 1), 1 + bottom * (h - 1))
    image, size, one = picture(w, h, seed), (to_w, to_h), np.ones(3, np.float32)
    out = np.full((3, to_h, to_w), np.nan, np.float32)
    target = Target(box, size, (0, 0), size, is_bicubic)
    load().prepare(out, image, target, (), one, np.zeros(3, np.float32))
    want = image.resize(size, BICUBIC if is_bicubic else BILINEAR, box=box)
    np.testing.assert_array_equal(out, np.asarray(want).transpose(2, 0, 1))


@settings(max_examples=100, deadline=None)
@given(
    SIDE, SIDE, st.floats(-90, 90), st.floats(-60, 60),
    st.sampled_from([transforms.NEAREST, BILINEAR, BICUBIC]),
)  # fmt: skip
def test_turned_and_moved_images_are_those_of_pillow(
    w: int, h: int, degrees: float, by: float, how: Image.Resampling
) -> None:
    image, fill = picture(w, h, w * h), (7, 200, 128)
    turned = transforms.rotate(image, degrees, how, fill)
    assert np.array_equal(turned, image.rotate(degrees, how, fillcolor=fill))
    one, zero, size = np.ones(3, np.float32), np.zeros(3, np.float32), (w, h)
    for rows in ((1, 0, by, 0, 1, 0), (1, 0, 0, 0, 1, by), (1, by / 60, 0, by / 99, 1, 0)):
        plan = Plan(w, h)
        transforms.affine(transforms.rotate(plan, degrees, how, fill), rows, how, fill)
        out = np.full((3, h, w), np.nan, np.float32)
        target = Target((0, 0, w, h), size, (0, 0), size, False)
        load().prepare(out, image, target, plan.numbers, one, zero)
        want = transforms.affine(turned, rows, how, fill)
        np.testing.assert_array_equal(out, np.asarray(want).transpose(2, 0, 1))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (64, 64), (30, 900), (64, 65), (9, 9)])
def test_images_to_evaluate_are_those_of_pillow(
    interpolation: str, size: tuple[int, int], by_pillow
) -> None:
    image = picture(*size, 5)
    for shape in ((64, 57, 57), (40, 40, 40), (57, 50, 31), (20, 32, 32)):
        preprocessing = Preprocessing(*shape, interpolation)
        got = preprocessing.apply(image)
        np.testing.assert_array_equal(got, by_pillow(preprocessing.apply, image))


def test_an_image_that_pillow_does_not_show_in_one_piece_is_copied() -> None:
    preprocessing = Preprocessing(40, 32, 32)
    large = picture(2500, 2000, 3)
    with pytest.raises(ValueError, match=r"contiguous|block"):
        large.__arrow_c_array__()
    again = Image.fromarray(np.asarray(large)[::-1].copy()).transpose(
        Image.Transpose.FLIP_TOP_BOTTOM
    )
    np.testing.assert_array_equal(preprocessing.apply(large), preprocessing.apply(again))
    want = np.asarray(large.resize((50, 40), BILINEAR))[4:36, 9:41].transpose(2, 0, 1)
    pixels = np.rint((preprocessing.apply(large) + 1) * 127.5)
    np.testing.assert_array_equal(pixels, want)


@pytest.mark.parametrize("flags", [("-march=x86-64-v3",), ("-march=x86-64",)])
def test_older_processors_compute_the_same(flags: tuple[str, ...], monkeypatch, tmp_path) -> None:
    if build.platform.machine() != "x86_64":
        flags = ()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    part = dataclasses.replace(build.INPUT, flags=(*build.INPUT.flags, "-O1", *flags))
    monkeypatch.setattr(build, "INPUT", part)
    assert list(compiled.differences(load())) == []


def test_every_step_is_compared_before_it_is_used() -> None:
    plan = Plan(20, 20)
    found = set()
    for tried in compiled.tried(plan):
        assert tried is plan
        found |= {CODES[int(plan.numbers[0])]} if plan.numbers else set()
        plan.numbers.clear()
    assert found == set(CODES)


def test_without_a_compiler_or_with_another_pillow_there_is_a_reason(monkeypatch) -> None:
    compiled._loaded.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(build, "library", no_library)
            assert compiled.form() is None
            assert compiled.reason() == "no C++ compiler (g++): install g++"
            (note,) = compiled.notes(["another note"])
            assert note.endswith("faster, but no C++ compiler (g++): install g++")
            assert compiled.notes(["other kernels: no C++ compiler (g++): install g++"]) == ()
        compiled._loaded.cache_clear()
        with monkeypatch.context() as patch:
            # A Pillow that rounds otherwise.
            patch.setattr(Image, "blend", lambda a, b, factor: a)
            assert compiled.form() is None
            assert compiled.reason().endswith(
                "computes otherwise: brightness, contrast, colour, sharpness"
            )
    finally:
        compiled._loaded.cache_clear()
    assert compiled.notes() == ()


def no_library(part: build.Part) -> None:
    raise build.NotBuilt("no C++ compiler (g++)", hint="install g++")


def test_what_does_not_fit_is_refused() -> None:
    form, one = load(), np.ones(3, np.float32)
    image, target = picture(9, 9, 1), Target((0, 0, 9, 9), (8, 8), (0, 0), (8, 8), False)
    out = np.zeros((3, 8, 8), np.float32)
    with pytest.raises(ValueError, match="cannot be read"):
        form.prepare(out, image, target, (99,), one, one)
    with pytest.raises(ValueError, match="cannot be read"):
        form.prepare(out, image, target, (CODES.index("affine"), 1, 2), one, one)
    for wrong in (out[:, 1:], out.astype(np.float64), np.zeros((8, 8, 3), np.float32).T):
        with pytest.raises(ValueError, match="an array of"):
            form.prepare(wrong, image, target, (), one, one)
    with pytest.raises(ValueError, match="a L image"):
        form.prepare(out, image.convert("L"), target, (), one, one)
