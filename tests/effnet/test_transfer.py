"""Transfer learning: weights for other classes, frozen parts, a slower backbone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from effnet.__main__ import main
from effnet.config import ConfigError, resolve
from effnet.weights.files import read_tensors
from tests.effnet.conftest import few_digits

if TYPE_CHECKING:
    from effnet.model.efficientnet import EfficientNet

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]

SEEDS = (1, 2, 3)
Train = Callable[..., tuple[int, str]]


@pytest.fixture
def train(one_process: None, capfd: pytest.CaptureFixture[str]) -> Train:
    """One rank in this process: its exit code and all that it printed."""

    def run(folder: Path, images: Path, *more: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(arguments(folder, images, *more))
        return code, "".join(capfd.readouterr())

    return run


def arguments(folder: Path, images: Path, *more: str) -> list[str]:
    settings = {
        "variant": "b0",
        "class_num": 5,
        "image_size": 32,
        "eval_resize": 32,
        "batch_size": 20,
        "report_steps": 100,
        "num_workers": 1,
        "warmup_epochs": 0,
        "epoch_size": 1,
        "lr_max": 0.002,
        "decay_bn_and_bias": False,
        "mode": "pynative",
        "bn_momentum": 0.9,
        "dropout": 0.0,
        "drop_path": 0.0,
        "auto_augment": "none",
        "hflip": 0.0,
        "color_jitter": 0.0,
        "crop_scale_min": 0.75,
        "save_checkpoint_path": folder / "checkpoint",
        "dataset_path": images,
    }
    return ["train", *(f"--set={key}={value}" for key, value in settings.items()), *more]


def half_of(digits: Path, folder: Path, classes: range, train: int, val: int) -> Path:
    whole = few_digits(digits, folder / "whole", train, val)
    for split in ("train", "val"):
        for name in classes:
            shutil.copytree(whole / split / str(name), folder / split / str(name))
    shutil.rmtree(whole)
    return folder


@pytest.fixture(scope="module")
def low(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits 0 to 4: 60 of each."""
    return half_of(digits, tmp_path_factory.mktemp("low"), range(5), 60, 20)


@pytest.fixture(scope="module")
def high(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits 5 to 9: 20 of each, 30 to evaluate on."""
    return half_of(digits, tmp_path_factory.mktemp("high"), range(5, 10), 20, 30)


class Tuning:
    """One network whose step is compiled once; each run begins with other weights."""

    def __init__(self, images: Path, weights: Path | str = "") -> None:
        from effnet.contract.reporter import Heartbeat
        from effnet.data import index_folder
        from effnet.distributed.group import Group
        from effnet.evaluate.evaluator import Evaluator
        from effnet.optim.schedule import LrSchedule
        from effnet.train.steps import make

        sets = [word.removeprefix("--set=") for word in arguments(images, images)[1:]]
        self.config = resolve(sets=[*sets, "mode=jit"]).config
        net = self.network()
        self.state = make.state_of(net, self.config)
        self.first = {name: value.copy() for name, value in self.state.tensors().items()}
        self.schedule = LrSchedule.from_config(self.config, 10)
        made = make.make(
            net, self.state, self.config, Group(), Heartbeat(None), self.schedule, None
        )
        self.step, self.evaluator = made.step, Evaluator(net, self.config, jit=True)
        self.index = index_folder

    def network(self, **given: object) -> EfficientNet:
        from effnet.model.efficientnet import EfficientNet

        return EfficientNet("b0", 5, dropout=0.0, drop_path=0.0, bn_momentum=0.9, **given)

    def run(self, images: Path, epochs: int, seed: int, weights: Path | None = None) -> None:
        """Train from random weights of `seed`, or from a checkpoint."""
        from effnet.data import train_batches
        from effnet.train import initial

        index = self.index(images, "train")
        config = replace(self.config, seed=seed, weights=str(weights), dataset_path=str(images))
        begun = self.network(seed=seed)
        if weights is not None:
            initial.load(begun, config, index.classes)
        own = {p.name: p.asnumpy() for p in begun.get_parameters()}
        self.state.load({**self.first, **own})
        done = 0
        for epoch in range(epochs):
            for batch in train_batches(index, config, epoch=epoch, noise_width=begun.noise_width):
                self.step(batch, config.lr_max * (1 - done / (epochs * 30)), done)
                done += 1

    def accuracy(self, images: Path) -> float:
        from effnet.data import eval_batches
        from effnet.distributed.group import Group

        index = self.index(images, "val")
        return self.evaluator(eval_batches(index, self.config), Group()).top_1_acc

    def save(self, path: Path, classes: list[str]) -> Path:
        from effnet.weights.files import write_tensors
        from effnet.weights.manifest import write_manifest

        write_tensors(path, self.state.tensors())
        network = {"variant": "b0", "padding": "symmetric", "num_classes": 5, "bn_eps": 1e-5}
        write_manifest(path, **network, source="train", extra={"class_names": classes})
        return path


@pytest.fixture(scope="module")
def tuning(low: Path, small_b0: None, one_process: None) -> Tuning:
    return Tuning(low)


@pytest.fixture(scope="module")
def trained(low: Path, tuning: Tuning, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network that knows 0 to 4."""
    tuning.run(low, 4, seed=1)
    path = tmp_path_factory.mktemp("trained") / "low.ckpt"
    return tuning.save(path, ["0", "1", "2", "3", "4"])


def test_fine_tuning_beats_training_from_scratch_by_ten_points(
    high: Path, tuning: Tuning, trained: Path
) -> None:
    gains = []
    for seed in SEEDS:
        found = []
        for weights in (None, trained):
            tuning.run(high, 3, seed, weights)
            found.append(tuning.accuracy(high))
        gains.append(found[1] - found[0])
    print("gains in points:", [round(100 * gain, 1) for gain in gains])
    assert min(gains) >= 0.1


# -- what is frozen


def test_frozen_parts_stay_as_they_are_and_a_resume_has_the_same_bits(
    high: Path, trained: Path, tmp_path: Path, train: Train
) -> None:
    """With everything on that a step can do: the second half repeats the whole run's bits."""
    more = (
        f"--weights={trained}",
        "--set=freeze=blocks:1",
        "--set=backbone_lr=0.1",
        "--set=ema_decay=0.9",
        "--set=opt=adamw",
        "--set=clip_norm=0.5",
        "--set=accumulation_steps=2",
        "--set=batch_size=10",
        "--set=mixup=0.2",
        "--set=cutmix=1",
        "--set=drop_path=0.2",
        "--set=interval=0",
        "--set=save_checkpoint_steps=2",
        "--set=keep_checkpoint_max=9",
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    code, said = train(whole, high, *more)
    assert code == 0, said
    before, after = read_tensors(trained), read_tensors(last(whole))
    frozen = ("stem.", "stem_norm.", "blocks.0.")
    for name in before.keys() - {n for n in before if n.startswith(("moment.", "mean_square."))}:
        same = np.array_equal(before[name], after[name])
        assert same == name.startswith(frozen), name
    slots = [name for name in after if name.startswith(("moment.", "mean_square.", "ema."))]
    assert slots
    assert not [name for name in slots if name.partition(".")[2].startswith(frozen)]

    (resumed / "checkpoint").mkdir(parents=True)
    for path in (whole / "checkpoint").glob("step-00000002.ckpt*"):
        shutil.copy(path, resumed / "checkpoint")
    # The weights are not read again: a resume does not need the file.
    gone = f"--weights={tmp_path / 'gone.ckpt'}"
    code, said = train(resumed, high, *more, gone, "--resume=auto")
    assert code == 0, said
    assert "resume: epoch:[0], step:[2]" in said
    other = read_tensors(last(resumed))
    assert other.keys() == after.keys()
    assert [name for name in after if after[name].tobytes() != other[name].tobytes()] == []


def last(folder: Path) -> Path:
    return max((folder / "checkpoint").glob("step-*.ckpt"))


@pytest.mark.parametrize(
    ("freeze", "trains"),
    [
        ("none", ("stem", "stem_norm", "blocks", "head", "head_norm", "classifier")),
        ("stem", ("blocks", "head", "head_norm", "classifier")),
        ("blocks:3", ("blocks", "head", "head_norm", "classifier")),
        ("all-but-head", ("classifier",)),
    ],
)
def test_what_each_value_freezes(freeze: str, trains: tuple[str, ...]) -> None:
    from effnet.model import freeze as freezing
    from effnet.model.efficientnet import EfficientNet, batch_norm_buffers

    net = EfficientNet("b0", 5)
    names = [p.name for p in net.get_parameters()]
    freezing.freeze(net, freeze)
    assert [p.name for p in net.get_parameters()] == names
    trained = [p.name for p in net.trainable_params()]
    assert {name.split(".")[0] for name in trained} == set(trains)
    blocks = {int(name.split(".")[1]) for name in trained if name.startswith("blocks.")}
    count = {"blocks:3": 3}.get(freeze, 0)
    assert min(blocks, default=count) == count
    # Statistics move where weights do.
    moving = {p.name.rpartition(".")[0] for p in batch_norm_buffers(net)}
    assert moving == {name.rpartition(".")[0] for name in trained if name.endswith(".gamma")}
    every = {p.name for p in net.get_parameters()}
    assert {p.name for p in freezing.frozen_parameters(net)} == every - set(trained) - {
        p.name for p in batch_norm_buffers(net)
    }


def test_more_blocks_than_there_are_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match="freeze blocks:99: b0 has 5 blocks"):
        resolve("CPU", sets=["variant=b0", "freeze=blocks:99"])
    with pytest.raises(ConfigError, match="freeze: expected one of none, stem, all-but-head"):
        resolve("CPU", sets=["freeze=blocks:0"])


# -- which weights


def test_other_class_names_and_numbers_leave_the_classifier_out(
    high: Path, low: Path, trained: Path
) -> None:
    from effnet.model.efficientnet import EfficientNet
    from effnet.train import initial

    want = read_tensors(trained)
    for classes, count, said in (
        (["0", "1", "2", "3", "4"], 5, ""),
        (["5", "6", "7", "8", "9"], 5, "without the classifier: its classes have other names"),
        (["a", "b"], 2, "without the classifier: it has 5 classes, class_num is 2"),
    ):
        sets = ["variant=b0", f"class_num={count}", f"weights={trained}"]
        net = EfficientNet("b0", count, seed=7)
        first = net.classifier.weight.asnumpy().copy()
        notes = initial.load(net, resolve("CPU", sets=sets).config, classes)
        assert len(notes) == 1
        assert said in notes[0]
        assert np.array_equal(net.stem.weight.asnumpy(), want["stem.weight"])
        now = net.classifier.weight.asnumpy()
        assert np.array_equal(now, first if said else want["classifier.weight"])


def test_weights_of_another_variant_or_padding_are_reported(trained: Path) -> None:
    from effnet.errors import UsageError
    from effnet.model.efficientnet import EfficientNet
    from effnet.train import initial

    names = ["0", "1", "2", "3", "4"]
    sets = ["variant=b1", "class_num=5", f"weights={trained}"]
    with pytest.raises(UsageError, match="of variant b0, this run has b1") as caught:
        initial.load(EfficientNet("b0", 5), resolve("CPU", sets=sets).config, names)
    assert caught.value.hint == "set variant = b0"
    sets[0] = "variant=b0"
    config = resolve("CPU", sets=[*sets, "padding=same"]).config
    notes = initial.load(EfficientNet("b0", 5), config, names)
    assert any("trained with padding symmetric, this run has same" in note for note in notes)


def test_a_file_that_is_no_checkpoint_ends_the_run_with_a_hint(
    high: Path, tmp_path: Path, train: Train
) -> None:
    code, said = train(tmp_path, high, f"--weights={tmp_path / 'none.ckpt'}")
    assert code == 5
    assert "none.ckpt: no such file" in said
