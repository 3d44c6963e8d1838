"""Which cells compute in 16 bits, and in which ones."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from effnet import device
from effnet.errors import UsageError
from effnet.model.efficientnet import EfficientNet
from effnet.train import precision

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]

FLAGS = {"float16": "fp16", "bfloat16": "bf16"}


@pytest.mark.parametrize("amp_dtype", FLAGS)
@pytest.mark.parametrize("amp_level", ["O2", "O3"])
def test_the_cells_have_the_type_and_the_noise_has_none(amp_level: str, amp_dtype: str) -> None:
    net = EfficientNet("b0", 10)
    precision.apply(net, amp_level, amp_dtype)
    flag = FLAGS[amp_dtype]
    lower = {name: bool(cell.get_flags().get(flag)) for name, cell in net.cells_and_names()}
    assert lower["stem"]
    assert lower["classifier"]
    assert not lower[""]
    norms = [name for name, cell in net.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    assert norms
    assert {lower[name] for name in norms} == {amp_level == "O3"}
    other = next(value for value in FLAGS.values() if value != flag)
    assert not any(cell.get_flags().get(other) for _, cell in net.cells_and_names())


def test_a_910a_refuses_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "soc", lambda: "ascend910")
    net = EfficientNet("b0", 10)
    with pytest.raises(UsageError, match="910A computes in float16") as raised:
        precision.apply(net, "O2", "bfloat16")
    assert raised.value.hint == "set amp_dtype = float16"
    precision.apply(net, "O2", "float16")


def test_mindspore_has_no_bfloat16_convolution_for_a_cpu() -> None:
    """Why the configuration refuses it there: when this fails, it can be allowed."""
    cell = nn.Conv2d(3, 4, 3).to_float(ms.bfloat16)
    with pytest.raises(TypeError, match="Unsupported data type"):
        cell(Tensor(np.ones((1, 3, 8, 8), np.float32)))


@pytest.mark.parametrize("level", ["auto", "O0", "O1", "O2"])
def test_a_function_is_compiled_at_its_level(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, str]] = []

    def jit(function: object, **options: str) -> object:
        given.append(options)
        return function

    monkeypatch.setattr(ms, "jit", jit)
    device.compiled(abs, level)
    assert given == [{"jit_level": level} if level in ("O0", "O1") else {}]
