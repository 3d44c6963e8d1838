"""Every script with MindSpore itself: a small B0, 40 digits of 32 px, one epoch of two steps.

One run of two ranks is evaluated, exported and resumed; the other scripts train once each.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from tests import small
from tests.reference.conftest import Desk, make_desk

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]

CONFIG = """\
variant = "b0"
class_num = 10
image_size = 32
eval_resize = 32
batch_size = 10
epoch_size = 1
warmup_epochs = 0
lr_init = 0.001
lr_max = 0.001
drop_path = 0.1
mode = "pynative"
save_checkpoint_steps = 1
interval = 0
"""
RESULT = re.compile(
    r"^result: \{'Loss': [\d.]+, 'Top_1_Acc': [\d.]+, 'Top_5_Acc': [\d.]+\} ckpt = "
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with `data/train` (4 images a class) and `data/val` (2), and `config.toml`."""
    from effnet.data.digits import write_digits

    folder = tmp_path_factory.mktemp("scripts")
    whole = write_digits(folder / "digits")
    for made in make_desk(folder):
        for split, count in (("train", 4), ("val", 2)):
            for classes in sorted((whole / split).iterdir()):
                to = made.folder / "data" / split / classes.name
                to.mkdir(parents=True)
                for image in sorted(classes.iterdir())[:count]:
                    shutil.copy(image, to)
        (made.folder / "config.toml").write_text(CONFIG)
        made.environment["PYTHONPATH"] = str(small.FOLDER)
        yield made


@pytest.fixture(scope="module")
def trained(desk: Desk) -> list[tuple[int, int, str]]:
    """`run_train_gpu.sh` with two ranks; -> its losses. The desk's links are its."""
    done = desk.call(
        "run_train_gpu", 2, "0,1", "data", "--config", "config.toml", timeout_s=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    found = desk.losses()
    assert [(epoch, step) for epoch, step, _ in found] == [(0, 0), (0, 1)]
    assert "done: epochs:[1], steps:[2]" in desk.log()
    return found


def test_evaluation_in_either_order_of_its_arguments(desk: Desk, trained: object) -> None:
    (checkpoint,) = (desk.folder / "checkpoint/model_0").iterdir()
    assert checkpoint.name == "Efficientnet_b0-rank0-1_2.ckpt"
    path = f"checkpoint/model_0/{checkpoint.name}"
    lines = []
    for script, words in (("run_eval", ("data/val", path)), ("run_eval_gpu", (path, "data"))):
        done = desk.call(script, 0, *words, timeout_s=300)
        assert done.returncode == 0, done.stderr + done.stdout
        line = done.stdout.splitlines()[-1]
        assert RESULT.match(line), done.stdout
        assert line in (desk.folder / "eval_log.txt").read_text().splitlines()
        lines.append(line)
    assert lines[0] == lines[1]


def test_inference_on_the_exported_file(desk: Desk, trained: object) -> None:
    done = desk.launch("export", "latest", "--name", str(desk.folder / "b0"), timeout_s=300)
    assert done.returncode == 0, done.stderr + done.stdout
    done = desk.call("run_infer_onnx", "b0.onnx", "data/val", "CPU", timeout_s=300)
    assert done.returncode == 0, done.stderr + done.stdout
    log = (desk.folder / "infer_onnx.log").read_text()
    assert re.search(r"^top-1 accuracy: \d\.\d{5}$", log, re.MULTILINE), log
    assert re.search(r"^top-5 accuracy: \d\.\d{5}$", log, re.MULTILINE), log
    done = desk.call("run_infer_onnx", "b0.onnx", "data/val", "GPU", timeout_s=300)
    assert done.returncode == 6, done.stderr + done.stdout
    assert "CUDAExecutionProvider" in done.stdout


def test_a_resume_takes_the_very_next_step_and_ends_where_the_unbroken_run_did(
    desk: Desk, trained: list[tuple[int, int, str]]
) -> None:
    folder = desk.folder / "elsewhere"
    folder.mkdir()
    for suffix in ("", ".manifest.json"):
        shutil.copy(desk.folder / f"checkpoint/step-00000001.ckpt{suffix}", folder)
    done = desk.call(
        "run_distribute_resume", 2, "0,1", "data", "elsewhere/step-00000001.ckpt", "CPU",
        "--config", "config.toml", timeout_s=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "a new run starts from it" in done.stdout
    # The reported mean is of this epoch's steps, those before the break among them.
    assert desk.losses() == trained[1:]


def test_a_missing_device_is_an_error_never_the_cpu(desk: Desk) -> None:
    """The preflight reports it; without a preflight the rank does."""
    call = ("run_standalone_train_gpu", 0, "data", "--config", "config.toml")
    done = desk.call(*call, DEVICE_TARGET="GPU", timeout_s=300)
    if done.returncode == 0:
        assert "target:[GPU]" in desk.log()
        return
    assert done.returncode == 6, done.stderr + done.stdout
    assert "nothing was started" in done.stderr
    done = desk.call(*call, "--no-preflight", DEVICE_TARGET="GPU", timeout_s=300)
    assert done.returncode == 6, done.stderr + done.stdout
    assert "device target GPU 0 is not usable here" in done.stdout
    assert "target:[CPU]" not in desk.log()


@pytest.mark.parametrize(
    ("script", "words", "batch_size"),
    [
        ("run_distribute_train", ("hccl_2p_01_10.0.0.1.json", "data"), 20),
        ("run_standalone_train", (0, "data/train"), 40),
        ("run_standalone_train_gpu", (1, "data"), 40),
    ],
)
def test_training(desk: Desk, script: str, words: tuple[object, ...], batch_size: int) -> None:
    done = desk.call(
        script, *words, "--config", "config.toml", "--set", f"batch_size={batch_size}",
        timeout_s=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert [(epoch, step) for epoch, step, _ in desk.losses()] == [(0, 0)]
    assert "epoch 1: epoch time: " in desk.log()
    assert (desk.folder / "checkpoint/step-00000001.ckpt").is_file()
