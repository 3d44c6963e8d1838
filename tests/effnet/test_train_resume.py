"""Killed at any moment and resumed, a run ends with the same bits as an uninterrupted one."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from effnet.__main__ import main
from effnet.weights.files import read_tensors
from tests.effnet import ranks
from tests.effnet.conftest import few_digits

pytestmark = [pytest.mark.mindspore, pytest.mark.slow, pytest.mark.usefixtures("small_b0")]

STEPS_PER_EPOCH = 6
EPOCHS = 2
LAST = STEPS_PER_EPOCH * EPOCHS
PAIR_EPOCHS = 12
PAIR_LAST = STEPS_PER_EPOCH * PAIR_EPOCHS
"""So many that a pair has not ended a moment after its first third, on any machine."""
Train = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def images(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 digits, ten of each class: 6 steps of 16 images, 4 left over."""
    return few_digits(digits, tmp_path_factory.mktemp("hundred") / "digits", 10, 2)


def arguments(images: Path, folder: Path, *more: str, size: int = 1) -> list[str]:
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
    return ["train", *words, "--run_distribute", str(size > 1), *more]


@pytest.fixture
def train(one_process: None, capfd: pytest.CaptureFixture[str]) -> Train:
    """One rank in this process: its exit code and all that it printed."""

    def run(words: list[str]) -> tuple[int, str]:
        capfd.readouterr()
        code = main(words)
        return code, "".join(capfd.readouterr())

    return run


def final(folder: Path, step: int = LAST) -> dict[str, NDArray[np.float32]]:
    return read_tensors(folder / "checkpoint" / f"step-{step:08d}.ckpt")


def unequal(
    one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]
) -> list[str]:
    """Names of tensors that are not the same bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if one[name].tobytes() != other[name].tobytes()]


@pytest.fixture(scope="module")
def alone(
    images: Path, small_b0: None, one_process: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One rank, never interrupted."""
    folder = tmp_path_factory.mktemp("alone")
    assert main(arguments(images, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def pair(images: Path, small_b0: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two compiled ranks, as local-cpu has them, never interrupted."""
    folder = tmp_path_factory.mktemp("pair")
    ended = ranks.run([*ranks.EFFNET, *of_pair(images, folder)], 2, folder, timeout_s=600)
    assert [one.exit_code for one in ended] == [0, 0], ended[0].text
    states = [re.search(r"done: .*state:\[(\w+)\]", one.out)[1] for one in ended]
    assert states[0] == states[1]
    return folder


def of_pair(images: Path, folder: Path, *more: str) -> list[str]:
    epochs = f"--set=epoch_size={PAIR_EPOCHS}"
    return arguments(images, folder, "--set=mode=jit", epochs, *more, size=2)


def copied(run: Path, folder: Path, pattern: str = "step-*") -> Path:
    """The checkpoints of `run` in a folder of their own."""
    checkpoints = folder / "checkpoint"
    checkpoints.mkdir()
    for path in (run / "checkpoint").glob(pattern):
        shutil.copy(path, checkpoints)
    return checkpoints


def test_two_ranks_killed_at_a_random_moment_end_with_the_same_bits(
    images: Path, pair: Path, tmp_path: Path
) -> None:
    moment = random.Random(time.time_ns())
    words = [*ranks.EFFNET, *of_pair(images, tmp_path, "--resume", "auto")]
    with ranks.started(words, 2, tmp_path / "first") as running:
        # A checkpoint waits for the one before it: after six steps the first one is on disk.
        running.wait_for_reports(moment.randrange(6, PAIR_LAST // 3), 500)
        time.sleep(moment.uniform(0, 0.1))
        running.kill(signal.SIGKILL)
        running.wait()
    for ended in ranks.run(words, 2, tmp_path / "second", timeout_s=600):
        assert ended.exit_code == 0, ended.text
        assert "resume: epoch:[" in ended.text
    assert unequal(final(pair, PAIR_LAST), final(tmp_path, PAIR_LAST)) == []


def test_one_rank_killed_at_random_moments_ends_with_the_same_bits(
    images: Path, alone: Path, tmp_path: Path, train: Train
) -> None:
    moment = random.Random(time.time_ns())
    words = arguments(images, tmp_path, "--resume", "auto")
    for attempt in range(2):
        # The second attempt begins wherever the first one saved last.
        with ranks.started([*ranks.EFFNET, *words], 1, tmp_path / f"attempt{attempt}") as running:
            running.wait_for_reports(moment.randrange(1, LAST // 2))
            time.sleep(moment.uniform(0, 0.2))
            running.kill(signal.SIGKILL)
            running.wait()
    code, said = train(words)
    assert code == 0, said
    assert unequal(final(alone), final(tmp_path)) == []


def test_another_seed_gives_other_weights(
    images: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stop").touch()
    monkeypatch.setenv("EFFNET_STOP_FILE", str(tmp_path / "stop"))
    found = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        code, said = train(arguments(images, folder, f"--set=seed={seed}"))
        assert code == 0, said
        assert re.search(r"stop: epoch:\[0\], step:\[1\], .*reason:\[stop file\]", said), said
        found.append(final(folder, 1))
    weights = [name for name in found[0] if name.endswith("weight") and "." in name]
    assert weights
    assert set(weights) <= set(unequal(*found))


def test_a_corrupt_newest_checkpoint_is_passed_over_for_the_one_before(
    images: Path, alone: Path, tmp_path: Path, train: Train
) -> None:
    folder = copied(alone, tmp_path)
    newest = folder / f"step-{LAST:08d}.ckpt"
    newest.chmod(0o600)
    whole = newest.read_bytes()
    newest.write_bytes(whole[:1000] + b"\0" + whole[1001:])
    # Half a file, as a power cut leaves it: no manifest, so it does not exist.
    (folder / f"step-{LAST + 2:08d}.ckpt").write_bytes(whole[:5000])
    code, said = train(arguments(images, tmp_path, "--resume", "auto"))
    assert code == 0, said
    assert "skipped a checkpoint" in said
    assert "sha256" in said
    assert f"resume: epoch:[1], step:[{LAST - 2}]" in said
    assert unequal(final(alone), final(tmp_path)) == []


def test_a_resume_with_another_form_of_depthwise_convolutions_says_so(
    images: Path, alone: Path, tmp_path: Path, train: Train
) -> None:
    copied(alone, tmp_path, f"step-{LAST - 2:08d}.*")
    words = arguments(images, tmp_path, "--resume", "auto", "--set=depthwise=tiled")
    code, said = train(words)
    assert code == 0, said
    assert "depthwise: 'fused' in the checkpoint, 'tiled' now: the run continues" in said
    one, other = final(alone), final(tmp_path)
    assert unequal(one, other) != []
    assert all(np.allclose(one[name], other[name], rtol=1e-3, atol=1e-4) for name in one)


def test_what_cannot_continue_is_refused_by_name(images: Path, alone: Path, train: Train) -> None:
    code, said = train(
        arguments(images, alone, "--resume", "auto", "--set=seed=5", "--set=variant=b1")
    )
    assert code == 5
    assert "variant: 'b0' in the checkpoint, 'b1' now" in said
    assert "fault: kind:[checkpoint]" in said


def test_another_world_size_continues_where_an_epoch_ends(
    images: Path, pair: Path, tmp_path: Path, train: Train
) -> None:
    copied(pair, tmp_path, f"step-{PAIR_LAST:08d}.*")
    # 25 images a step of one rank: 4 steps an epoch instead of 6, and not compiled now.
    more = ("--set=batch_size=25", f"--set=epoch_size={PAIR_EPOCHS + 1}")
    code, said = train(
        arguments(images, tmp_path, "--resume", "auto", "--set=save_checkpoint_steps=0", *more)
    )
    assert code == 0, said
    assert f"resume: epoch:[{PAIR_EPOCHS}], step:[{4 * PAIR_EPOCHS}]" in said
    assert f"epoch: [ {PAIR_EPOCHS}/ {PAIR_EPOCHS + 1}], step:[    0/    4]" in said


def test_asked_to_stop_all_ranks_save_at_one_step_and_leave(images: Path, tmp_path: Path) -> None:
    # One image a step of each rank, so that it has not ended by itself, on any machine.
    more = ("--set=save_checkpoint_epochs=50", "--set=batch_size=1", "--set=epoch_size=50")
    words = arguments(images, tmp_path, "--set=save_checkpoint_steps=0", *more, size=2)
    with ranks.started([*ranks.EFFNET, *words], 2, tmp_path) as running:
        running.wait_for("step:[    2/")
        # One rank alone: the others learn it in the reduction.
        running.processes[1].send_signal(signal.SIGTERM)
        ended = running.wait()
    assert [one.exit_code for one in ended] == [0, 0], ended[0].text
    assert "gradients are all-reduced through shared memory" in ended[0].out
    # At the same step, with the same bits on both ranks.
    stops = {
        re.search(r"stop: epoch:\[\d+\], step:\[(\d+)\], state:\[\w+\]", one.out) for one in ended
    }
    assert len({stop[0] for stop in stops}) == 1, stops
    step = int(stops.pop()[1])
    epoch = -(-step // 50)
    manifest = json.loads(
        (tmp_path / "checkpoint" / f"step-{step:08d}.ckpt.manifest.json").read_text()
    )
    assert (manifest["step"], manifest["world_size"]) == (step, 2)
    link = tmp_path / "checkpoint" / "model_0" / f"Efficientnet_b0-rank0-{epoch}_{step}.ckpt"
    assert link.resolve() == tmp_path / "checkpoint" / f"step-{step:08d}.ckpt"


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_state(
    images: Path, tmp_path: Path, train: Train
) -> None:
    code, said = train(
        arguments(
            images,
            tmp_path,
            "--set=lr_init=1e-4",
            "--set=lr_max=1e30",
            "--set=save_checkpoint_steps=1",
        )
    )
    assert code == 4, said
    fault = next(line for line in said.splitlines() if line.startswith("fault:"))
    assert "kind:[loss]" in fault
    assert "images /" in fault
    assert "last good checkpoint" in fault
    saved = sorted((tmp_path / "checkpoint").glob("step-*.ckpt"))
    assert saved
    assert all(np.isfinite(tensor).all() for tensor in read_tensors(saved[-1]).values())
