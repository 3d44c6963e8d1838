"""Broken at any moment and resumed, a run ends with the very weights of one never broken."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from effnet.data.digits import write_digits
from effnet.weights.files import read_tensors
from tests.effnet import live_ranks as ranks

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]

STEPS_PER_EPOCH = 6
EPOCHS = 2
LAST = STEPS_PER_EPOCH * EPOCHS


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 digits, ten of each class: 6 steps of 2 ranks x 8 images, 4 left over."""
    whole = tmp_path_factory.mktemp("digits") / "digits"
    write_digits(whole)
    for split, keep in (("train", 10), ("val", 2)):
        for folder in sorted((whole / split).iterdir()):
            for image in sorted(folder.iterdir())[keep:]:
                image.unlink()
    return whole


def arguments(images: Path, folder: Path, *more: str, size: int = 2) -> list[str]:
    """Everything random is on: augmentation, dropout, stochastic depth; and the average."""
    settings = {
        "variant": "b0",
        "class_num": 10,
        "image_size": 32,
        "batch_size": 16 // size,
        "epoch_size": EPOCHS,
        "warmup_epochs": 1,
        "mode": "pynative",
        "ema_decay": 0.9,
        "dropout": 0.3,
        "drop_path": 0.2,
        "auto_augment": "reference",
        "interval": 0,
        "save_checkpoint_steps": 2,
        "keep_checkpoint_max": 4,
        "save_checkpoint_path": folder / "checkpoint",
        "dataset_path": images,
    }
    words = [f"--set={key}={value}" for key, value in settings.items()]
    return ["train", *words, *more]


def final(folder: Path, step: int = LAST) -> dict[str, NDArray[np.float32]]:
    return read_tensors(folder / "checkpoint" / f"step-{step:08d}.ckpt")


def unequal(
    one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]
) -> list[str]:
    """Names of tensors that are not the same bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if one[name].tobytes() != other[name].tobytes()]


@pytest.fixture(scope="module")
def unbroken(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    for ended in ranks.run(arguments(images, folder), 2, folder):
        assert ended.exit_code == 0, ended.output
    return folder


def test_two_ranks_killed_at_random_moments_end_with_the_same_bits(
    images: Path, unbroken: Path, tmp_path: Path
) -> None:
    moment = random.Random(time.time_ns())
    for attempt, step in enumerate(sorted(moment.sample(range(1, LAST - 1), 2))):
        epoch, within = divmod(step, STEPS_PER_EPOCH)
        words = arguments(images, tmp_path, "--resume", "auto")
        with ranks.started(words, 2, tmp_path / f"attempt{attempt}") as running:
            running.wait_for(f"epoch: [{epoch:3d}/{EPOCHS:3d}], step:[{within:5d}/")
            time.sleep(moment.uniform(0, 0.5))
            running.kill(signal.SIGKILL)
            assert {ended.exit_code for ended in running.wait()} == {-signal.SIGKILL}
    for ended in ranks.run(arguments(images, tmp_path, "--resume", "auto"), 2, tmp_path / "last"):
        assert ended.exit_code == 0, ended.output
        assert "resume: epoch:[" in ended.output
    assert unequal(final(unbroken), final(tmp_path)) == []


def test_one_rank_killed_in_mid_epoch_ends_with_the_same_bits(images: Path, tmp_path: Path) -> None:
    """With compiled gradients, as a CPU has them by default."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    (ended,) = ranks.run(arguments(images, whole, "--set=mode=jit", size=1), 1, whole)
    assert ended.exit_code == 0, ended.output
    words = arguments(images, broken, "--resume", "auto", "--set=mode=jit", size=1)
    with ranks.started(words, 1, broken / "first") as running:
        running.wait_for("epoch: [  0/  2], step:[    3/")
        running.kill(signal.SIGKILL)
        running.wait()
    (ended,) = ranks.run(words, 1, broken / "second")
    assert ended.exit_code == 0, ended.output
    assert "resume: epoch:[0], step:[2]" in ended.output
    assert unequal(final(whole), final(broken)) == []


def test_another_seed_gives_other_weights(images: Path, unbroken: Path, tmp_path: Path) -> None:
    words = arguments(images, tmp_path, "--set=seed=2", "--set=epoch_size=1")
    for ended in ranks.run(words, 2, tmp_path):
        assert ended.exit_code == 0, ended.output
    other = final(tmp_path, STEPS_PER_EPOCH)
    weights = [name for name in other if name.endswith("weight") and "." in name]
    assert weights
    assert set(weights) <= set(unequal(final(unbroken), other))


def test_a_corrupt_newest_checkpoint_is_passed_over_for_the_one_before(
    images: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in (unbroken / "checkpoint").glob("step-*"):
        (folder / path.name).write_bytes(path.read_bytes())
    newest = folder / f"step-{LAST:08d}.ckpt"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:1000] + b"\0" + whole[1001:])
    # Half a file, as a power cut leaves it: no manifest, so it does not exist.
    (folder / f"step-{LAST + 2:08d}.ckpt").write_bytes(whole[:5000])
    for ended in ranks.run(arguments(images, tmp_path, "--resume", "auto"), 2, tmp_path):
        assert ended.exit_code == 0, ended.output
    first = (tmp_path / "rank0.log").read_text()
    assert "passed over a checkpoint" in first
    assert "sha256" in first
    assert f"resume: epoch:[1], step:[{LAST - 2}]" in first
    assert unequal(final(unbroken), final(tmp_path)) == []


def test_what_cannot_continue_is_refused_by_name(
    images: Path, unbroken: Path, tmp_path: Path
) -> None:
    words = arguments(images, unbroken, "--resume", "auto", "--set=seed=5", "--set=variant=b1")
    # Alone, since a rank that refuses leaves its peers waiting for the launcher to end them.
    (ended,) = ranks.run([*words, "--set=batch_size=16"], 1, tmp_path)
    assert ended.exit_code == 5
    assert "variant: 'b0' in the checkpoint, 'b1' now" in ended.output
    assert "fault: kind:[checkpoint]" in ended.output
    assert "Traceback" not in ended.output


def test_another_world_size_continues_where_an_epoch_ends(
    images: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in (unbroken / "checkpoint").glob(f"step-{LAST:08d}.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    # 4 images a step of one rank: 25 steps an epoch instead of 6.
    words = arguments(images, tmp_path, "--resume", "auto", "--set=batch_size=4", size=1)
    (ended,) = ranks.run(
        [*words, "--set=epoch_size=3", "--set=save_checkpoint_steps=0"], 1, tmp_path
    )
    assert ended.exit_code == 0, ended.output
    assert "resume: epoch:[2], step:[50]" in ended.output
    assert "epoch: [  2/  3], step:[    0/   25]" in ended.output


@pytest.mark.parametrize("way", ["signal", "file"])
def test_asked_to_stop_all_ranks_save_at_one_step_and_leave(
    way: str, images: Path, tmp_path: Path
) -> None:
    stop_file = tmp_path / "stop"
    words = arguments(images, tmp_path, "--set=save_checkpoint_steps=0")
    environment = {"EFFNET_STOP_FILE": str(stop_file)}
    with ranks.started(words, 2, tmp_path, environment) as running:
        running.wait_for("step:[    2/")
        if way == "signal":
            # One rank alone: the others learn it in the reduction.
            running.processes[1].send_signal(signal.SIGTERM)
        else:
            stop_file.touch()
        ended = running.wait()
    assert [one.exit_code for one in ended] == [0, 0], ended[0].output
    steps = {one.output.split("stop: epoch:[0], step:[")[1].split("]")[0] for one in ended}
    assert len(steps) == 1
    step = int(steps.pop())
    manifest = json.loads(
        (tmp_path / "checkpoint" / f"step-{step:08d}.ckpt.manifest.json").read_text()
    )
    assert (manifest["step"], manifest["world_size"]) == (step, 2)
    link = tmp_path / "checkpoint" / "model_0" / f"Efficientnet_b0-rank0-1_{step}.ckpt"
    assert link.resolve() == tmp_path / "checkpoint" / f"step-{step:08d}.ckpt"


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_state(
    images: Path, tmp_path: Path
) -> None:
    words = arguments(
        images,
        tmp_path,
        "--set=lr_init=1e-4",
        "--set=lr_max=1e30",
        "--set=save_checkpoint_steps=1",
        size=1,
    )
    (ended,) = ranks.run(words, 1, tmp_path)
    assert ended.exit_code == 4, ended.output
    fault = next(line for line in ended.output.splitlines() if line.startswith("fault:"))
    assert "kind:[loss]" in fault
    assert "images /" in fault
    assert "last good checkpoint" in fault
    assert "Traceback" not in ended.output
    saved = sorted((tmp_path / "checkpoint").glob("step-*.ckpt"))
    assert saved
    assert all(np.isfinite(tensor).all() for tensor in read_tensors(saved[-1]).values())
