"""The network against timm's, with every weight and statistic drawn from its own name.

The golden values are timm's in double precision: golden/make_golden.py.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import load_file

from effnet.model.depthwise import use_compiled_depthwise
from effnet.model.efficientnet import EfficientNet
from effnet.model.fused import use_fused_blocks
from effnet.weights import convert, names
from effnet.weights.transfer import load_into

if TYPE_CHECKING:
    from effnet.kernels.depthwise import Kernels

pytestmark = pytest.mark.mindspore

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = {
    "efficientnet_b2": ("b2", "symmetric"),
    "tf_efficientnet_b2": ("b2", "same"),
    "efficientnet_b0": ("b0", "symmetric"),
}
B2_NETWORKS = [name for name in NETWORKS if name.endswith("b2")]


def _load_drawing() -> ModuleType:
    # make_golden.py imports it as its neighbour, in an environment without this project.
    spec = importlib.util.spec_from_file_location("golden_drawing", GOLDEN / "drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawing = _load_drawing()


def drawn_weights(variant: str) -> dict[str, np.ndarray]:
    """Our names -> what timm was given under its own."""
    table = names.tensor_names("timm", variant, drawing.NUM_CLASSES)
    drawn = drawing.weights({t.theirs: t.their_shape for t in table})
    return convert.to_ours(drawn, "timm", variant, drawing.NUM_CLASSES)


def drawn_network(
    network: str, drawn: dict[str, np.ndarray], form: str, kernels: Kernels
) -> EfficientNet:
    variant, padding = NETWORKS[network]
    net = EfficientNet(variant, drawing.NUM_CLASSES, padding)
    if form == "compiled":
        use_compiled_depthwise(net, kernels)
    elif form == "fused":
        use_fused_blocks(net, kernels)
    load_into(net, drawn)
    return net


def gradients(net: EfficientNet, variant: str) -> tuple[float, dict[str, np.ndarray]]:
    """Cross entropy and its gradients under timm's names, without dropout of any kind."""
    labels = ms.Tensor(drawing.labels())

    def loss(images):
        return ms.ops.cross_entropy(net(images), labels)

    parameters = net.trainable_params()
    value, grads = ms.value_and_grad(loss, None, parameters)(ms.Tensor(drawing.images()))
    theirs = {t.ours: t.theirs for t in names.tensor_names("timm", variant, drawing.NUM_CLASSES)}
    return float(value.asnumpy()), {
        theirs[p.name]: g.asnumpy() for p, g in zip(parameters, grads, strict=True)
    }


def relative_distance(ours: np.ndarray, golden: np.ndarray) -> float:
    return float(np.linalg.norm(ours - golden) / np.linalg.norm(golden))


@pytest.mark.parametrize("form", ["compiled", "tiled"])
@pytest.mark.parametrize("network", NETWORKS)
def test_logits_equal_timms(network, form, kernels):
    golden = load_file(GOLDEN / f"{network}.safetensors")["logits"]
    assert golden.std() >= 0.5
    drawn = drawn_weights(NETWORKS[network][0])
    net = drawn_network(network, drawn, form, kernels).set_train(False)
    logits = net(ms.Tensor(drawing.images())).asnumpy()
    assert np.abs(logits - golden).max() <= 1e-4 * np.abs(golden).max()


@pytest.mark.parametrize(
    ("mode", "form"),
    [("train", "fused"), ("train", "compiled"), ("eval", "compiled"), ("train", "tiled")],
)
@pytest.mark.parametrize("network", B2_NETWORKS)
def test_gradient_of_every_tensor_equals_timms(network, mode, form, kernels):
    golden = load_file(GOLDEN / f"{network}.safetensors")
    net = drawn_network(network, drawn_weights("b2"), form, kernels).set_train(mode == "train")
    before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    loss, grads = gradients(net, NETWORKS[network][0])
    assert loss == pytest.approx(float(golden[f"{mode}/loss"][0]), rel=1e-5)

    expected = {n.split("/", 2)[2]: v for n, v in golden.items() if f"{mode}/gradient/" in n}
    assert grads.keys() == expected.keys()
    vanishing = [n for n, v in expected.items() if np.linalg.norm(v) < 1e-12]
    # In training, batch norm takes away every constant that a 1x1 convolution passes on to it,
    # so the shift of each block but the first (before a depthwise convolution, whose padding
    # is not shifted) has no effect on the loss. All that can be asked is that it is nothing
    # beside the gradient of the scale in the same layer.
    assert len(vanishing) == (22 if mode == "train" else 0)
    for name in vanishing:
        scale = expected[name.replace(".bias", ".weight")]
        assert np.linalg.norm(grads[name]) <= 1e-3 * np.linalg.norm(scale), name

    distances = {
        name: relative_distance(drawing.sketch(name, grads[name]), golden)
        for name, golden in expected.items()
        if name not in vanishing
    }
    assert {n: d for n, d in distances.items() if not d <= 1e-3} == {}

    if mode == "train":
        theirs = {t.ours: t.theirs for t in names.tensor_names("timm", "b2", drawing.NUM_CLASSES)}
        moved = {
            theirs[p.name]: p.asnumpy() - before[p.name]
            for p in net.get_parameters()
            if not p.requires_grad
        }
        changes = {
            name: relative_distance(drawing.sketch(name, change), golden["change/" + name])
            for name, change in moved.items()
        }
        assert {n: d for n, d in changes.items() if not d <= 1e-3} == {}


def test_zeroing_any_one_tensor_breaks_the_logits(kernels):
    """So none of them could be wrong without the tests above noticing.

    Of the blocks' tensors it is every seventh: each kind of tensor, in blocks of each stage.
    """
    network = "efficientnet_b2"
    golden = load_file(GOLDEN / f"{network}.safetensors")["logits"][:1]
    drawn = drawn_weights("b2")
    net = drawn_network(network, drawn, "tiled", kernels).set_train(False)
    image = ms.Tensor(drawing.images()[:1])

    @ms.jit
    def logits(image):
        return net(image)

    def error():
        return np.abs(logits(image).asnumpy() - golden).max() / np.abs(golden).max()

    assert error() <= 1e-4
    unnoticed = []
    parameters = list(net.get_parameters())
    assert len(parameters) == 301 + 138
    in_blocks = [parameter for parameter in parameters if parameter.name.startswith("blocks.")]
    outside = [parameter for parameter in parameters if not parameter.name.startswith("blocks.")]
    zeroed = outside + in_blocks[::7]
    kinds = [{re.sub(r"\d+", "N", p.name) for p in some} for some in (zeroed, parameters)]
    assert kinds[0] == kinds[1]
    for parameter in zeroed:
        ms.ops.assign(parameter, ms.ops.zeros_like(parameter))
        if error() <= 1e-4:
            unnoticed.append(parameter.name)
        ms.ops.assign(parameter, ms.Tensor(drawn[parameter.name]))
    assert unnoticed == []
    assert error() <= 1e-4
