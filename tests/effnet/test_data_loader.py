"""Batches: the same whatever prepares them, every image once, bad images named, nothing left."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effnet.config import TrainConfig, resolve
from effnet.data import (
    BadImages,
    Batch,
    DataError,
    ImageIndex,
    eval_batches,
    index_folder,
    train_batches,
)
from effnet.data.augment.augmentation import Augmentation
from effnet.data.errors import TooManyBadImages
from effnet.data.loader import workers
from effnet.data.source import TrainSource, fits


@pytest.fixture
def train(digits: Path) -> ImageIndex:
    return index_folder(digits, "train", 10)


@pytest.fixture
def val(digits: Path) -> ImageIndex:
    return index_folder(digits, "val", 10)


def config(*sets: str) -> TrainConfig:
    small = ["class_num=10", "image_size=16", "batch_size=32"]
    return resolve("CPU", sets=[*small, *sets]).config


def arrays(batches: Any) -> list[tuple[np.ndarray, ...]]:
    return [(b.images, b.labels, b.noise, b.indices, b.valid) for b in batches]


def assert_same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def loader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("effnet-data")]


def without(index: ImageIndex, count: int) -> ImageIndex:
    """``index`` without its last ``count`` images."""
    keep = len(index) - count
    return ImageIndex(
        index.root, index.classes, index.labels[:keep], index.names, index.offsets[: keep + 1]
    )


def test_batch_matches_its_docstring(train: ImageIndex) -> None:
    batches = list(train_batches(train, config(), epoch=0, noise_width=7))
    assert [b.step for b in batches] == list(range(1437 // 32))
    first = batches[0]
    for array, shape, kind in (
        (first.images, (32, 3, 16, 16), np.float32),
        (first.labels, (32,), np.int32),
        (first.noise, (32, 7), np.float32),
        (first.indices, (32,), np.int64),
        (first.valid, (32,), np.bool_),
    ):
        assert array.shape == shape
        assert array.dtype == kind
    assert first.valid.all()
    np.testing.assert_array_equal(first.labels, train.labels[first.indices])
    assert -1 <= first.images.min() < first.images.max() <= 1


def test_neither_threads_nor_memory_nor_repetition_changes_a_pixel(digits: Path) -> None:
    runs = [
        arrays(train_batches(index_folder(digits, "train"), config(*sets), epoch=3, noise_width=5))
        for sets in (["num_workers=1"], ["num_workers=2"], ["image_cache_mb=0", "num_workers=2"])
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


@pytest.mark.parametrize("world", [1, 2])
def test_resuming_in_an_epoch_gives_its_remaining_batches(train: ImageIndex, world: int) -> None:
    for rank in range(world):
        share = {"ranks": [rank], "world_size": world, "noise_width": 3}
        whole = arrays(train_batches(train, config(), epoch=1, **share))
        rest = list(train_batches(train, config(), epoch=1, start_step=9, **share))
        assert rest[0].step == 9
        assert_same(whole[9:], arrays(rest))
    assert list(train_batches(train, config(), epoch=1, start_step=1437 // 32)) == []


def test_seed_and_epoch_change_order_pixels_and_noise(train: ImageIndex) -> None:
    def first(seed: int, epoch: int) -> Batch:
        return next(train_batches(train, config(f"seed={seed}"), epoch=epoch, noise_width=4))

    one, epoch, seed = first(1, 0), first(1, 1), first(2, 0)
    for other in (epoch, seed):
        assert (one.indices != other.indices).any()
        assert (one.noise != other.noise).all()


def test_an_image_is_augmented_differently_in_each_epoch_but_alike_on_any_rank(
    train: ImageIndex,
) -> None:
    def images(epoch: int, world: int) -> dict[int, np.ndarray]:
        found = {}
        for rank in range(world):
            for b in train_batches(
                train, config(f"batch_size={32 // world}"), epoch=epoch, ranks=[rank],
                world_size=world,
            ):  # fmt: skip
                found.update(zip(b.indices.tolist(), b.images, strict=True))
        return found

    alone, together, later = images(0, 1), images(0, 2), images(1, 1)
    assert alone.keys() == together.keys()
    assert all(np.array_equal(alone[i], together[i]) for i in alone)
    both = alone.keys() & later.keys()
    assert sum(np.array_equal(alone[i], later[i]) for i in both) < len(both) / 50


def test_ranks_draw_different_noise(train: ImageIndex) -> None:
    one, two = (
        next(train_batches(train, config(), epoch=0, ranks=[r], world_size=2, noise_width=9))
        for r in range(2)
    )
    assert (one.noise != two.noise).all()


def test_a_rank_that_carries_several_has_what_each_of_them_would_have(train: ImageIndex) -> None:
    sets = ["batch_size=8", "accumulation_steps=2", "mixup=0.2", "cutmix=1"]
    share: dict[str, Any] = {"world_size": 4, "noise_width": 3, "epoch": 1, "start_step": 20}
    alone = [arrays(train_batches(train, config(*sets), ranks=[r], **share)) for r in range(4)]
    together = arrays(train_batches(train, config(*sets), ranks=[3, 1], **share))
    assert len(together) == 1437 // 64 - 20
    parts = zip(alone[3], alone[1], strict=True)
    assert_same(together, [tuple(map(np.concatenate, zip(*two, strict=True))) for two in parts])


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [359, 360, 2])
def test_every_image_is_evaluated_exactly_once(val: ImageIndex, world: int, count: int) -> None:
    index = without(val, 360 - count)
    ranks = [
        list(eval_batches(index, config("batch_size=50"), rank=r, world_size=world))
        for r in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    every = [b for batches in ranks for b in batches]
    assert {b.images.shape for b in every} == {(50, 3, 16, 16)}
    seen = np.concatenate([b.indices[b.valid] for b in every])
    assert sorted(seen.tolist()) == list(range(count))
    for b in every:
        np.testing.assert_array_equal(b.valid, b.indices >= 0)
        np.testing.assert_array_equal(b.labels[b.valid], index.labels[b.indices[b.valid]])
        assert (b.labels[~b.valid] == -1).all()
        assert not b.images[~b.valid].any()


def test_too_few_images_for_a_step_are_named(val: ImageIndex) -> None:
    with pytest.raises(DataError, match=r"360 images .* batch_size 200 x 2 ranks"):
        train_batches(val, config("batch_size=200"), epoch=0, world_size=2)


# -- unreadable images ---------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """20 good images in two classes and 3 that cannot be read."""
    rng = np.random.default_rng(0)
    for i in range(20):
        folder = tmp_path / "mixed" / f"class {i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.jpg", quality=95)
    folder = tmp_path / "mixed" / "class 0"
    whole = (folder / "00.jpg").read_bytes()
    (folder / "x1.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "x2.jpg").write_bytes(b"no image at all")
    (folder / "x3.png").touch()
    return tmp_path / "mixed"


def test_unreadable_images_are_named_replaced_and_counted_in_training(mixed: Path) -> None:
    index = index_folder(mixed)
    bad = BadImages(limit=3)
    sets = ["class_num=2", "batch_size=23"]
    runs = [
        arrays(train_batches(index, config(*sets, f"num_workers={n}"), epoch=0, bad_images=bad))
        for n in (1, 2)
    ]
    assert_same(runs[0], runs[1])
    (_, labels, _, indices, valid) = runs[0][0]
    assert valid.all()
    np.testing.assert_array_equal(labels, index.labels[indices])
    broken = {i for i in range(len(index)) if "/x" in index.path(i)}
    assert len(broken) == 3
    assert not broken & set(indices.tolist())
    assert sorted(Path(path).name for path, _ in bad.items) == ["x1.jpg", "x2.jpg", "x3.png"]
    reasons = {Path(path).name: reason for path, reason in bad.items}
    assert "truncated" in reasons["x1.jpg"]
    assert reasons["x2.jpg"] == "not an image that can be read"
    assert bad.summary().startswith("3 unreadable images:")


def test_unreadable_images_are_not_evaluated_and_reported(mixed: Path) -> None:
    index = index_folder(mixed)
    for world in (1, 2):
        bad = BadImages()
        batches = [
            b
            for rank in range(world)
            for b in eval_batches(
                index, config("class_num=2"), rank=rank, world_size=world, bad_images=bad
            )
        ]
        assert sum(int(b.valid.sum()) for b in batches) == 20
        assert sum(int((b.indices >= 0).sum()) for b in batches) == 23
        assert len(bad) == 3


@pytest.mark.parametrize("batches", [train_batches, eval_batches])
def test_too_many_unreadable_images_stop_the_run_and_are_named(mixed: Path, batches: Any) -> None:
    index = index_folder(mixed)
    epoch = {"epoch": 0} if batches is train_batches else {}
    with pytest.raises(TooManyBadImages) as caught:
        list(batches(index, config("class_num=2", "batch_size=23", "max_bad_images=2"), **epoch))
    text = str(caught.value)
    assert "3 unreadable images, max_bad_images is 2" in text
    assert all(name in text for name in ("x1.jpg", "x2.jpg", "x3.png"))
    assert loader_threads() == []


def test_a_folder_without_one_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(4):
        (tmp_path / "a" / f"{i}.jpg").write_bytes(b"?")
    with pytest.raises(DataError, match="not one image of"):
        list(train_batches(index_folder(tmp_path), config("batch_size=2"), epoch=0))


def test_each_bad_image_counts_once() -> None:
    bad = BadImages(limit=1)
    bad.add("a", "x")
    bad.add("a", "x")
    with pytest.raises(TooManyBadImages):
        bad.add("b", "y")
    many = BadImages()
    for i in range(9):
        many.add(str(i), "x")
    assert many.summary(first=2).splitlines() == [
        "9 unreadable images:", "  0: x", "  1: x", "  and 7 more",
    ]  # fmt: skip


# -- nothing is left -----------------------------------------------------------------------------


def test_threads_end_with_the_iterator(train: ImageIndex) -> None:
    batches = train_batches(train, config("num_workers=2"), epoch=0)
    assert loader_threads() == []
    next(batches)
    assert loader_threads() != []
    batches.close()
    assert loader_threads() == []
    list(train_batches(train, config("num_workers=2"), epoch=0))
    assert loader_threads() == []


ABANDONED = """
import sys
from effnet.config import resolve
from effnet.data import index_folder, train_batches
index = index_folder(sys.argv[1], "train")
config = resolve("CPU", sets=["class_num=10", "image_size=64", "num_workers=2"]).config
batches = train_batches(index, config, epoch=0)
next(batches)
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_a_process_that_abandons_its_batches_ends(digits: Path, end: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED.format(end=end), str(digits)],
        cwd=Path(__file__).parents[2], timeout=120, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()


@pytest.mark.mindspore
def test_mindspore_dataset_has_the_same_batches(train: ImageIndex) -> None:
    from effnet.data.dataset import COLUMNS, train_dataset

    share = {"ranks": [0, 2], "world_size": 3, "noise_width": 6}
    data = train_dataset(train, config("epoch_size=4"), epoch=2, start_step=5, **share)
    want = [
        *train_batches(train, config(), epoch=2, start_step=5, **share),
        *train_batches(train, config(), epoch=3, **share),
    ]
    assert data.get_dataset_size() == len(want) == 2 * 14 - 5
    rows = list(data.create_dict_iterator(num_epochs=1, output_numpy=True))
    assert len(rows) == len(want)
    for row, batch in zip(rows, want, strict=True):
        assert list(row) == COLUMNS
        for name, array in zip(COLUMNS, (batch.images, batch.labels, batch.noise), strict=True):
            np.testing.assert_array_equal(row[name], array)
            assert row[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("environment", "cores", "world_size", "sets", "threads"),
    [
        ({"EFFNET_CPUS_BOUND": "1"}, 24, 8, (), 24),  # 8 ranks on 192 cores
        ({"EFFNET_CPUS_BOUND": "1"}, 1, 8, (), 1),
        ({"EFFNET_CPUS_BOUND": "1"}, 24, 8, ("num_workers=4",), 4),
        ({}, 192, 8, (), 24),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, 192, 16, (), 24),
        ({}, 2, 8, (), 1),
        ({}, 2, 8, ("num_workers=4",), 2),
    ],
)
def test_the_threads_of_a_rank_follow_its_own_share_of_the_cores(
    environment: dict[str, str],
    cores: int,
    world_size: int,
    sets: tuple[str, ...],
    threads: int,
    train: ImageIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EFFNET_CPUS_BOUND", "OMPI_COMM_WORLD_LOCAL_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    large = config("image_size=224", *sets)
    source = TrainSource(
        train, 1, 0, Augmentation.from_config(large), BadImages(), fits(train, large.image_cache_mb)
    )
    assert workers(large, world_size, source) == threads
