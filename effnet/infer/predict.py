"""Predictions for every image of a folder, in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effnet.data import BadImages, DataError, ImageIndex, Preprocessing, shard
from effnet.data.prefetch import Batch, batches
from effnet.data.source import EvalSource
from effnet.evaluate.accuracy import places
from effnet.infer.session import Model


@dataclass(frozen=True)
class Predictions:
    """By image: `predicted` class, -1 where it could not be read, and its `probability`.

    The accuracies are over the `images` that could be read; they mean nothing for images of no
    known class.
    """

    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]
    top_1_acc: float
    top_5_acc: float
    images: int
    unreadable: int
    time_ms: float

    @property
    def images_per_s(self) -> float:
        return self.images / (self.time_ms / 1e3)


def predict(
    model: Model,
    images: ImageIndex,
    preprocessing: Preprocessing,
    batch_size: int,
    threads: int,
    bad_images: BadImages,
    progress: Callable[[int], None],
) -> Predictions:
    """Every image once; raises `DataError` when not one could be read.

    Where not every batch has to be full, the last one is shorter, else it is padded.
    """
    start_s = time.perf_counter()
    predicted = np.full(len(images), -1, np.int64)
    probability = np.zeros(len(images), np.float32)
    right = np.zeros(2, np.int64)
    done = 0
    rows = shard(np.arange(len(images), dtype=np.int64), batch_size, drop_remainder=False)
    source = EvalSource(images, preprocessing, bad_images)
    with closing(batches(source, rows, threads)) as prepared:
        for batch in prepared:
            logits = _logits(model, batch)
            chosen = logits.argmax(axis=1)
            own = batch.indices[batch.valid]
            predicted[own] = chosen
            probability[own] = _softmax(logits).max(axis=1)
            place = places(logits, batch.labels[batch.valid])
            right += [int((place < 1).sum()), int((place < 5).sum())]
            done += int((batch.indices >= 0).sum())
            progress(done)
    read = int((predicted >= 0).sum())
    if not read:
        raise DataError(
            f"all {len(images)} images in {images.root} are unreadable",
            hint="`python -m effnet data check DIR` lists each with its reason",
        )
    return Predictions(
        predicted,
        probability,
        int(right[0]) / read,
        int(right[1]) / read,
        read,
        len(images) - read,
        (time.perf_counter() - start_s) * 1e3,
    )


def _logits(model: Model, batch: Batch) -> NDArray[np.float32]:
    """Of the valid images alone."""
    if model.takes_full_batches:
        return model(batch.images)[batch.valid]
    images = batch.images if batch.valid.all() else batch.images[batch.valid]
    if not len(images):
        return np.zeros((0, model.classes or 1), np.float32)
    return model(images)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
