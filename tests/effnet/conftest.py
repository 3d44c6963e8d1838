"""What takes seconds to make, made once for all tests of the trainer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before MindSpore is loaded: its queues' threads spin, a third of these tests' CPU time.
os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
sys.path.insert(0, str(Path(__file__).parent))

import checkpoints

from effnet import device
from effnet.__main__ import main
from tests import small

if TYPE_CHECKING:
    from effnet.kernels.depthwise import Kernels
    from tests.effnet.graph_runs import Taken


@pytest.fixture(scope="session")
def one_process() -> Iterator[None]:
    """Lets one process run many commands: MindSpore's CPU is set up once and for all."""
    first = device.set_up

    def set_up(target: str, device_id: int | None = None, **more: Any) -> None:
        if target != "CPU":
            first(target, device_id, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "set_up", set_up)
        yield


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """The compiled kernels, on one thread."""
    from effnet.kernels.depthwise import load

    return load(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, `train/` and `val/`."""
    from effnet.data.digits import write_digits

    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def thirty_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of each class, `train/` and `val/`."""
    return few_digits(digits, tmp_path_factory.mktemp("thirty") / "digits", 3, 3)


def few_digits(digits: Path, folder: Path, train: int, val: int) -> Path:
    """The first images of each class."""
    for split, keep in (("train", train), ("val", val)):
        for source in (digits / split).iterdir():
            (folder / split / source.name).mkdir(parents=True)
            for image in sorted(source.iterdir())[:keep]:
                shutil.copy(image, folder / split / source.name)
    return folder


@pytest.fixture(scope="session")
def in_graph() -> Taken:
    """Three steps in graph mode, compiled once for all tests of it."""
    from tests.effnet.graph_runs import Taken

    return Taken.by()


@pytest.fixture
def mode_restored() -> Iterator[None]:
    """MindSpore is in PyNative mode again afterwards."""
    import mindspore as ms

    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(scope="session")
def digits_359(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """359 of the validation images: a prime, which no number of ranks or batches divides."""
    folder = tmp_path_factory.mktemp("data") / "val"
    shutil.copytree(digits / "val", folder)
    min((folder / "3").iterdir()).unlink()
    return folder


@pytest.fixture(scope="module")
def small_b0() -> Iterator[None]:
    """B0 is a small network in this module's tests, and in the processes that they start."""
    with small.small_b0():
        yield


@pytest.fixture(scope="session")
def drawn_b0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small B0 with weights and statistics drawn from their names, 10 classes."""
    with small.small_b0():
        return checkpoints.imported(tmp_path_factory.mktemp("drawn"), "b0")


@pytest.fixture(scope="session")
def taught(drawn_b0: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small B0 that knows digits, in its average alone; a link with the reference's name."""
    folder = tmp_path_factory.mktemp("a run") / "checkpoint"
    (folder / "model_0").mkdir(parents=True)
    with small.small_b0():
        out = checkpoints.taught(drawn_b0, digits, folder / "step-00000045.ckpt", average=True)
    link = folder / "model_0" / "Efficientnet_b0-rank0-1_45.ckpt"
    link.symlink_to(f"../{out.name}")
    return link


@pytest.fixture(scope="session")
def taught_onnx(taught: Path, one_process: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`taught` as `export` writes it."""
    path = tmp_path_factory.mktemp("exported") / "b0.onnx"
    args = ("export", "--checkpoint_path", taught, "--file_name", path, "--file_format", "ONNX")
    with small.small_b0():
        assert main(list(map(str, args))) == 0
    return path


@pytest.fixture
def answer(one_process: None, capfd: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs one of the trainer's commands with --json in this process; what it answers."""

    def run(*args: object) -> dict[str, Any]:
        capfd.readouterr()
        code = main([*map(str, args), "--json"])
        out, err = capfd.readouterr()
        assert code == 0, err
        assert out.count("\n") == 1, out
        found: dict[str, Any] = json.loads(out)
        return found

    return run


@pytest.fixture
def fails(one_process: None, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs one of the trainer's commands in this process; its exit code and standard error."""

    def run(*args: object) -> tuple[int, str]:
        capfd.readouterr()
        code = main(list(map(str, args)))
        _, err = capfd.readouterr()
        assert code != 0
        return code, err

    return run
