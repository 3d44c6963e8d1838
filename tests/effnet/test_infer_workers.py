"""The workers of `effnet infer`: the same answers in order, however work is shared."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections import defaultdict

import numpy as np
import onnx
import pytest

from effnet.data import BadImages
from effnet.data.source import EvalSource
from effnet.infer import facts, session, workers
from effnet.infer.images import find_images
from effnet.infer.predict import predict
from effnet.infer.workers import Plan

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """37 images, of which two cannot be read."""
    folder = tmp_path_factory.mktemp("some") / "val"
    for name in ("3", "4"):
        (folder / name).mkdir(parents=True)
        for image in sorted((digits / "val" / name).iterdir())[: 18 if name == "3" else 19]:
            shutil.copy(image, folder / name)
    for image in (min((folder / "3").iterdir()), max((folder / "4").iterdir())):
        image.write_bytes(b"no image")
    return folder


@pytest.fixture
def model(taught_onnx):
    return session.open_model(taught_onnx, "CPU", threads=1)


@pytest.fixture
def fixed(taught_onnx, tmp_path):
    """The same network for eight images a call."""
    net = onnx.load(taught_onnx)
    for value in (net.graph.input[0], net.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(net, tmp_path / "fixed.onnx")
    return session.open_model(tmp_path / "fixed.onnx", "CPU", threads=1)


def source_of(model, folder):
    images, _ = find_images(str(folder))
    return EvalSource(images, facts.preprocessing(model, defaultdict(lambda: None)), BadImages())


def shaped(model, run):
    """The model with `run(images, compute)` in the place of its session's call."""

    class Session:
        def run(self, outputs, inputs):
            images = inputs[model.input]
            return [run(images, lambda: model.session.run(outputs, inputs)[0])]

    return dataclasses.replace(model, session=Session())


def left():
    return [t.name for t in threading.enumerate() if t.name.startswith("effnet-")]


@pytest.mark.parametrize("planned", [Plan(2, 1, 1), Plan(3, 4, 1), Plan(1, 32, 2), Plan(7, 2, 1)])
def test_however_the_work_is_shared_the_answers_are_those_of_one_call(model, folder, planned):
    source = source_of(model, folder)
    images = np.empty((37, *source.shape), np.float32)
    labels = [source.fill(images[i], i)[0] for i in range(37)]
    logits = model(images)
    expected = np.where(np.array(labels) < 0, -1, logits.argmax(axis=1))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    counts = []
    source = source_of(model, folder)
    found = predict(model, source, planned, counts.append)
    assert list(found.predicted) == list(expected)
    readable = expected >= 0
    own = (raised / raised.sum(axis=1, keepdims=True)).max(axis=1)
    assert np.allclose(found.probability[readable], own[readable], atol=1e-6)
    assert list(found.probability[~readable]) == [0, 0]
    assert (found.images, found.unreadable) == (35, 2)
    assert sorted(path for path, _ in source.bad_images.items) == sorted(
        source.index.path(int(i)) for i in np.flatnonzero(~readable)
    )
    assert counts == sorted(counts)
    assert counts[-1] == 37
    assert not left()


def test_a_file_with_a_fixed_batch_gets_full_ones_and_the_answers_are_the_same(
    fixed, model, folder
):
    sizes = []

    def run(images, compute):
        sizes.append(len(images))
        return compute()

    found = predict(shaped(fixed, run), source_of(fixed, folder), Plan(2, 8, 1), lambda done: None)
    free = predict(model, source_of(model, folder), Plan(2, 3, 1), lambda done: None)
    assert sizes == [8] * 5
    assert list(found.predicted) == list(free.predicted)
    assert np.allclose(found.probability, free.probability, atol=1e-6)


def test_a_call_that_takes_longer_than_the_next_ones_keeps_its_place(model, folder):
    others, first = threading.Event(), threading.Lock()

    def run(images, compute):
        logits = compute()
        if first.acquire(blocking=False):
            assert others.wait(60)
        else:
            others.set()
        return logits

    source = source_of(model, folder)
    parts = list(workers.computed(shaped(model, run), source, Plan(2, 4, 1)))
    assert others.is_set()
    readable = np.concatenate([part.indices for part in parts])
    assert list(readable) == list(range(1, 36))
    assert sum(part.count for part in parts) == 37


def test_the_error_of_a_worker_ends_all_of_them(model, folder):
    def run(images, compute):
        raise RuntimeError("the network fails")

    with pytest.raises(RuntimeError, match="the network fails"):
        predict(shaped(model, run), source_of(model, folder), Plan(3, 2, 1), lambda done: None)
    assert not left()


def test_ctrl_c_leaves_no_worker_behind(model, folder):
    def pressed(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, source_of(model, folder), Plan(2, 1, 1), pressed)
    assert not left()


@pytest.mark.parametrize("count", [1, 2, 5, 63, 64, 1000])
@pytest.mark.parametrize("planned", [Plan(1, 8, 1), Plan(2, 4, 1), Plan(16, 2, 1)])
def test_every_image_is_in_one_call_and_the_last_calls_are_short(count, planned):
    parts = list(workers.parts(count, planned, False))
    assert [i for part in parts for i in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= planned.images
    assert sizes[-1] == 1
    full = list(workers.parts(count, planned, True))
    assert {len(part) for part in full[:-1]} <= {planned.images}
    assert full[-1].stop == count


GIB = 2**30


@pytest.mark.parametrize(
    ("px", "count", "batch", "wanted", "memory", "expected"),
    [
        # What is fastest by size: at most 32, at least one.
        (260, 5000, None, 16, 512 * GIB, Plan(16, 2, 1)),
        (32, 5000, None, 16, 512 * GIB, Plan(16, 32, 1)),
        (600, 5000, None, 16, 512 * GIB, Plan(16, 1, 1)),
        # The user's batch is shared.
        (260, 5000, 64, 16, 512 * GIB, Plan(16, 4, 1)),
        (260, 5000, 1, 16, 512 * GIB, Plan(16, 1, 1)),
        # Cores without a worker share the work of the others' calls.
        (260, 5000, 64, 4, 512 * GIB, Plan(4, 16, 13)),
        (600, 5000, None, 16, 2 * GIB, Plan(3, 1, 14)),
        (600, 5000, None, 16, GIB // 8, Plan(1, 1, 16)),
        # Too few images to open the file again for that.
        (260, 3, None, 16, 512 * GIB, Plan(3, 2, 1)),
        (600, 3, None, 16, 512 * GIB, Plan(3, 1, 1)),
    ],
)
def test_workers_follow_cores_memory_and_images(
    model, monkeypatch, px, count, batch, wanted, memory, expected
):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: range(16))
    monkeypatch.setattr(workers, "memory_bytes", lambda: memory)
    assert workers.plan(model, (3, px, px), count, batch, wanted) == expected


@pytest.mark.parametrize(
    ("line", "folder", "file"),
    [
        ("0::/slurm/job_7/step_0", "slurm/job_7", "memory.max"),
        ("4:cpu,memory:/slurm/job_7/step_0", "memory/slurm/job_7", "memory.limit_in_bytes"),
        ("0::/", "", "memory.max"),
    ],
)
def test_the_memory_is_that_of_the_tightest_cgroup_around_us(tmp_path, line, folder, file):
    group = tmp_path / "sys/fs/cgroup" / folder
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:pids:/\n{line}\n")
    assert workers.memory_bytes(tmp_path) > 2**20
    (group / file).write_text("1048576\n")
    assert workers.memory_bytes(tmp_path) == 2**20


def test_a_fixed_batch_is_the_size_of_each_call(fixed, monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: range(16))
    monkeypatch.setattr(workers, "memory_bytes", lambda: 512 * GIB)
    assert workers.plan(fixed, (3, 32, 32), 5000, None, 16) == Plan(16, 8, 1)
    assert workers.plan(fixed, (3, 32, 32), 30, None, 16) == Plan(4, 8, 13)
