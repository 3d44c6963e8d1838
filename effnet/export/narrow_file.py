"""The data that a smaller precision needs: ranges from training images, accuracy from others."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from effnet.config import TrainConfig
from effnet.contract.progress import bar
from effnet.data import BadImages, ImageIndex, eval_batches, index_folder, require_same_classes
from effnet.data.folders import eval_index
from effnet.errors import UsageError, first_line
from effnet.export import job, onnx_file, precision
from effnet.export.compare import ExportRefused
from effnet.export.precision import Cost
from effnet.weights.manifest import Manifest

_RANGES_FROM = 1024
"""Training images, at equal distances in the folder: of each class about as many.

Ranges are means over batches, so a few more batches matter. On the digits B2 lost 2.2 points of
top-1 with 256 images and 0.8 with 1,024, when its logits were integers too; now none.
"""


def narrow_to(
    wanted: str,
    config: TrainConfig,
    manifest: Manifest,
    data: str,
    eval_data: str,
    batch_size: int | None,
) -> job.Narrow:
    """What `job.export` calls. Raises `UsageError`, `DataError`, `PackageMissing` before that."""
    precision.require_packages(wanted)
    train = index_folder(data, "train", manifest.num_classes)
    images = eval_index(data, eval_data, manifest.num_classes, train)
    if images is None:
        raise UsageError(
            f"{data} has no validation images to measure the accuracy on",
            hint="name a folder with train/ and val/, or add --eval_dataset_path",
        )
    names = manifest.extra.get("class_names")
    require_same_classes(images, names, str(manifest.variant), manifest.num_classes)
    if batch_size:
        config = dataclasses.replace(config, batch_size=batch_size)

    def narrow(path: Path) -> Cost:
        full = path.with_name("full.onnx")
        shutil.copyfile(path, full)
        with closing(_some(train, config)) as ranges:
            precision.change(path, wanted, ranges)
        try:
            before, after = onnx_file.load(full), onnx_file.load(path)
        except Exception as error:
            text = f"the {wanted} file cannot be loaded: {first_line(error)}"
            raise ExportRefused(text) from error
        bad_images = BadImages(config.max_bad_images)
        batches = eval_batches(images, config, bad_images=bad_images)
        with closing(batches), bar("accuracy", len(images)) as progress:
            return precision.cost(wanted, before, after, batches, progress)

    return narrow


def _some(index: ImageIndex, config: TrainConfig) -> Generator[NDArray[np.float32], None, None]:
    """Batches of training images, prepared as for an evaluation."""
    count, done = min(_RANGES_FROM, len(index)), 0
    only = np.linspace(0, len(index) - 1, count).astype(np.int64)
    bad_images = BadImages(config.max_bad_images)
    batches = eval_batches(index, config, bad_images=bad_images, only=only)
    with closing(batches), bar("ranges", count) as progress:
        for batch in batches:
            done += int((batch.indices >= 0).sum())
            progress(done)
            if batch.valid.any():
                # A file may take full batches only: some of the images are in it twice.
                yield np.resize(batch.images[batch.valid], batch.images.shape)
