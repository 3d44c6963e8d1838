"""The recipes, and each part of them that the reference does not have."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from effnet import recipes
from effnet.config import ConfigError, resolve, toml
from effnet.data.augment.augmentation import Augmentation, fill_of
from effnet.data.augment.randaugment import OPERATIONS, Draw, RandAugment
from effnet.data.augment.random_erasing import RandomErasing
from effnet.data.pixels import transforms
from effnet.data.preprocess import Preprocessing
from effnet.data.rng import stream
from effnet.model import scaling
from effnet.optim.schedule import LrSchedule

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
FILL = (124, 116, 104)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


# -- the files


@pytest.mark.parametrize("target", ["Ascend", "GPU", "CPU"])
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_is_a_configuration_file_and_a_key(name: str, target: str, tmp_path: Path) -> None:
    by_key = resolve(target, sets=[f"recipe={name}"])
    by_file = resolve(target, recipes.path(name))
    assert {**vars(by_key.config), "recipe": "none"} == vars(by_file.config)
    assert by_key.sources["drop_path"] == f"recipe {name}"
    copy = tmp_path / "config.toml"
    copy.write_text(by_key.to_toml())
    assert resolve(toml_path=copy).config == by_key.config


def test_every_other_setting_overrides_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('recipe = "tf"\nlr_max = 0.064\nbatch_size = 128\n')
    found = resolve("Ascend", file, ["drop_path=0.1"], {"epoch_size": 10, "recipe": None})
    assert (found.config.lr_max, found.config.batch_size) == (0.064, 128)
    assert (found.config.drop_path, found.config.epoch_size) == (0.1, 10)
    assert found.config.ema_decay == 0.9999
    # The strongest layer that names one says which.
    assert resolve("Ascend", file, ["recipe=none"]).config.ema_decay == 0.0
    assert resolve("Ascend", file, ["recipe=ra"]).config.random_erasing == 0.2
    copy = tmp_path / "copy.toml"
    copy.write_text(toml.write(found.config))
    assert resolve(toml_path=copy).config == found.config
    with pytest.raises(ConfigError, match="recipe: expected one of none, reference, tf, ra"):
        resolve("Ascend", sets=["recipe=tff"])


def test_the_reference_recipe_is_the_published_run() -> None:
    for target, batch, top in (("Ascend", 256, 0.13), ("GPU", 128, 0.092)):
        c = resolve(target, sets=["recipe=reference"]).config
        assert (c.batch_size, c.lr_max, c.epoch_size, c.warmup_epochs) == (batch, top, 350, 2)
        assert (c.amp_level, c.drop_path, c.padding, c.bn_eps) == ("O3", 0.0, "same", 1e-3)
        assert (c.eval_image_size, c.eval_resize, c.interpolation) == (260, 280, "bilinear")
        assert c.decay_bn_and_bias


# -- the learning rate


def test_exponential_decay_falls_by_stairs_after_the_warm_up() -> None:
    config = resolve("Ascend", sets=["recipe=tf"]).config
    schedule = LrSchedule.from_config(config, steps_per_epoch=625, world_size=8)
    assert schedule.lr(0) == 0.0
    assert schedule.lr(1) == pytest.approx(0.128 / 3125)
    assert schedule.lr(3124) == pytest.approx(0.128 * 3124 / 3125)
    # TF counts its stairs from step 0: at the end of the warm-up two of them have passed.
    assert schedule.lr(3125) == pytest.approx(0.128 * 0.97**2)
    assert schedule.lr(3 * 1500 - 1) == schedule.lr(3125)
    assert schedule.lr(3 * 1500) == pytest.approx(0.128 * 0.97**3)
    assert schedule.lr(350 * 625 - 1) == pytest.approx(0.128 * 0.97**145)


def test_stairs_can_have_fractional_steps_and_stay_above_the_end_rate() -> None:
    schedule = LrSchedule("exponential", 0.0, 1.0, 0.4, 0, 20, decay_steps=2.4, decay_rate=0.5)
    assert [schedule.lr(i) for i in range(6)] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.4]


# -- RandAugment


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("rand-m9-mstd0.5", (9.0, 0.5, 2, 0.5)),
        ("rand-mstd0.25-m7-n3-p1", (7.0, 0.25, 3, 1.0)),
        ("rand", (9.0, 0.0, 2, 0.5)),
    ],
)
def test_timms_spelling(text: str, want: tuple[float, float, int, float]) -> None:
    config = resolve("CPU", sets=[f"auto_augment={text}", "normalization=imagenet"]).config
    steps = dict(Augmentation.from_config(config).before)
    found = steps["auto_augment"]
    assert isinstance(found, RandAugment)
    assert (found.magnitude, found.spread, found.count, found.probability) == want
    assert found.fill == fill_of(config) == FILL


@pytest.mark.parametrize("text", ["rand-m9-inc1", "rand-", "rand-m", "random", "rand-m9mstd0.5"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="auto_augment: expected one of"):
        resolve("CPU", sets=[f"auto_augment={text}"])


def test_magnitudes_are_spread_and_held_between_0_and_10() -> None:
    levels = [RandAugment(9, 0.5).draw(stream("t", i)).level for i in range(4000)]
    assert max(levels) == 10.0
    assert 0.01 < levels.count(10.0) / 4000 < 0.04  # P(N(9, 0.5) > 10) = 2.3 %
    assert np.mean(levels) == pytest.approx(8.99, abs=0.03)
    assert np.std(levels) == pytest.approx(0.49, abs=0.03)
    assert {RandAugment(7).draw(stream("t", i)).level for i in range(9)} == {7.0}
    assert min(RandAugment(0.1, 2).draw(stream("t", i)).level for i in range(99)) == 0.0


def test_operations_are_drawn_evenly_with_even_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[tuple[str, bool, int]] = Counter()
    for name in OPERATIONS:

        def note(image: Image.Image, draw: Draw, name: str = name) -> Image.Image:
            seen[name, draw.is_negative, draw.resample] += 1
            return image

        monkeypatch.setitem(OPERATIONS, name, note)
    augment, image = RandAugment(9, 0.5), noise(4, 4)
    for i in range(6000):
        augment(image, stream("t", i))
    assert seen.total() == pytest.approx(6000, rel=0.05)  # two operations, each by even chance
    assert len(OPERATIONS) == 15
    for name in OPERATIONS:
        assert sum(n for (which, _, _), n in seen.items() if which == name) > 300
    assert sum(n for (_, left, _), n in seen.items() if left) == pytest.approx(3000, rel=0.1)
    assert sum(n for (_, _, r), n in seen.items() if r == BICUBIC) == pytest.approx(3000, rel=0.1)


def test_operations_at_their_magnitude() -> None:
    image = noise(24, 20)

    def done(name: str, level: float, negative: bool = False) -> Image.Image:
        return OPERATIONS[name](image, Draw(level, BILINEAR, FILL, negative))

    assert same(done("rotate", 10), image.rotate(30, BILINEAR, fillcolor=FILL))
    assert same(done("rotate", 5, True), image.rotate(-15, BILINEAR, fillcolor=FILL))
    assert same(done("posterize", 9), ImageOps.posterize(image, 3))
    assert same(done("posterize", 2), transforms.posterize(image, 0))
    assert same(done("solarize", 9), ImageOps.solarize(image, 230))
    assert same(done("solarize", 10), image)
    assert same(done("colour", 5), transforms.saturation(image, 1.0))
    assert same(done("brightness", 10), transforms.brightness(image, 1.9))
    pixels = np.asarray(image).astype(int)
    added = np.where(pixels < 128, np.minimum(255, pixels + 99), pixels)
    np.testing.assert_array_equal(np.asarray(done("solarize_add", 9)), added)


def test_translation_and_shear_fill_with_the_mean_colour() -> None:
    image = Image.new("RGB", (20, 20), (255, 255, 255))

    def filled(name: str, negative: bool) -> np.ndarray:
        moved = OPERATIONS[name](image, Draw(10.0, BILINEAR, FILL, negative))
        return (np.asarray(moved) == FILL).all(axis=2)

    right, left = filled("translate_x", False), filled("translate_x", True)
    assert right[:, 11:].all()
    assert not right[:, :10].any()
    assert np.array_equal(left, right[:, ::-1])
    assert np.array_equal(filled("translate_y", False), right.T)
    sheared = filled("shear_x", False)
    assert not sheared[0].any()
    assert sheared[19].sum() in (5, 6)  # 0.3 of 19 rows
    assert np.array_equal(filled("shear_y", False), sheared.T)


# -- random erasing


def test_erasing_makes_a_rectangle_of_noise() -> None:
    shares, ratios, values, hit = [], [], [], 0
    for i in range(600):
        array = np.full((3, 60, 60), 9.0, np.float32)
        RandomErasing(0.2)(array, stream("t", i))
        gone = (array != 9.0).all(axis=0)
        if not gone.any():
            assert (array == 9.0).all()
            continue
        hit += 1
        rows, columns = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert gone.sum() == height * width
        shares.append(height * width / 3600)
        ratios.append(height / width)
        values.append(array[:, gone].ravel())
    assert 85 < hit < 155
    assert min(shares) > 0.015
    assert max(shares) < 0.35
    assert 0.2 < min(ratios) < 0.6
    assert 1.7 < max(ratios) < 5
    every = np.concatenate(values)
    assert abs(every.mean()) < 0.02
    assert every.std() == pytest.approx(1.0, abs=0.02)
    assert every.dtype == np.float32


def test_erasing_with_probability_0_or_1() -> None:
    array = np.zeros((3, 16, 16), np.float32)
    RandomErasing(0.0)(array, stream("t"))
    assert not array.any()
    RandomErasing(1.0)(array, stream("t"))
    assert array.any()
    tiny = np.zeros((3, 1, 1), np.float32)
    RandomErasing(1.0)(tiny, stream("t"))
    assert not tiny.any()


# -- the whole of it


def test_an_image_is_a_function_of_the_stream_alone() -> None:
    sets = ["recipe=ra", "image_size=24", "random_erasing=1"]
    augmentation = Augmentation.from_config(resolve("CPU", sets=sets).config)
    assert [name for name, _ in augmentation.before] == ["hflip", "auto_augment"]
    assert [name for name, _ in augmentation.after] == ["random_erasing"]
    image = noise(40, 30)

    def made(number: int) -> np.ndarray:
        out, rng = np.empty((3, 24, 24), np.float32), stream("augment", 1, 2, number)
        augmentation.finish_into(out, image, augmentation.box(rng, 40, 30), rng)
        return out

    every = [made(i) for i in range(8)]
    assert all(np.array_equal(made(i), every[i]) for i in range(8))
    assert len({array.tobytes() for array in every}) == 8


def test_stochastic_depth_grows_from_0_to_the_recipes_rate() -> None:
    rates = [block.drop_rate for block in scaling.blocks("b2", 0.2)]
    assert rates == pytest.approx([0.2 * i / 23 for i in range(23)])


def test_evaluation_crops_and_resizes_as_tf_and_timm() -> None:
    for name in ("tf", "ra"):
        config = resolve("CPU", sets=[f"recipe={name}"]).config
        assert config.eval_resize == math.floor(260 / 0.89)
        preprocessing = Preprocessing.from_config(config)
        image = noise(400, 300)
        resized = image.resize((389, 292), BICUBIC)
        # torchvision rounds the halves, and 64.5 is 64.
        want = np.asarray(resized.crop((64, 16, 324, 276)))
        np.testing.assert_array_equal(preprocessing.pixels(image), want)
    whole = resolve("CPU", sets=["recipe=ra", "eval_image_size=288", "eval_resize=288"])
    assert Preprocessing.from_config(whole.config).pixels(noise(288, 288)).shape == (288, 288, 3)
