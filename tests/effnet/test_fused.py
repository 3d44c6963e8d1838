"""Training in fused blocks beside training with MindSpore's operators."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from effnet.kernels.depthwise import Kernels
from effnet.model import scaling
from effnet.model.depthwise import use_compiled_depthwise
from effnet.model.efficientnet import EfficientNet, batch_norm_buffers
from effnet.model.fused import use_fused_blocks
from tests.effnet.graph_runs import SMALL

pytestmark = pytest.mark.mindspore

Arrays = dict[str, np.ndarray[Any, np.dtype[np.float32]]]
# Of these channels many are no multiple of 16, and there are blocks of every kind.
NARROW = scaling.Variant("b0", width=0.25, depth=0.8, resolution_px=224, dropout=0.2)


class Taken:
    """What a network makes of one batch: logits, gradients, moving statistics."""

    def __init__(
        self, net: EfficientNet, images: ms.Tensor, *, has_noise: bool = True, jit: bool = False
    ) -> None:
        draw = np.random.default_rng(1)
        noise = ms.Tensor(draw.random((images.shape[0], net.noise_width), np.float32))
        goals = ms.Tensor(draw.standard_normal((images.shape[0], 10)).astype(np.float32))

        def loss(images: ms.Tensor, noise: ms.Tensor) -> Any:
            logits = net(images, noise) if has_noise else net(images)
            return ((logits - goals) ** 2).mean(), logits

        weights = ms.ParameterTuple(net.trainable_params())
        function: Callable[..., Any] = ms.value_and_grad(loss, None, weights, has_aux=True)
        if jit:
            function = ms.jit(function)
        (_, logits), gradients = function(images, noise)
        self.logits = logits.asnumpy()
        self.gradients: Arrays = {
            weight.name: gradient.asnumpy().copy()
            for weight, gradient in zip(weights, gradients, strict=True)
        }
        self.statistics: Arrays = {b.name: b.asnumpy().copy() for b in batch_norm_buffers(net)}

    def same_bits(self, other: Taken) -> bool:
        """Whether both are equal to the last bit."""
        mine, others = self.gradients | self.statistics, other.gradients | other.statistics
        return all(np.array_equal(mine[name], others[name]) for name in mine)


def network(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, *, fused: bool, padding: str = "symmetric",
    variant: scaling.Variant = NARROW,
) -> EfficientNet:  # fmt: skip
    """Norms whose scales and shifts are not 1 and 0."""
    monkeypatch.setitem(scaling.VARIANTS, "b0", variant)
    net = EfficientNet("b0", 10, padding, dropout=0.3, bn_momentum=0.9, bn_eps=0.01, seed=3)
    draw = np.random.default_rng(2)
    for parameter in net.get_parameters():
        if parameter.name.endswith(("gamma", "beta", "bias")):
            off = 0.2 * draw.standard_normal(parameter.shape)
            centre = 1.0 if parameter.name.endswith("gamma") else 0.0
            ms.ops.assign(parameter, ms.Tensor((centre + off).astype(np.float32)))
    (use_fused_blocks if fused else use_compiled_depthwise)(net, kernels)
    return net


def drawn(*shape: int) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(4).standard_normal(shape).astype(np.float32))


def far(one: Arrays, other: Arrays) -> dict[str, float]:
    """Of tensors that differ by more than float32's rounding explains.

    A projection's shift is nearly taken away by the next batch norm: beside the scale's gradient
    its own is nothing.
    """
    found = {}
    for name, mine in one.items():
        beside = one[name.replace("beta", "gamma")] if "project_norm.beta" in name else mine
        distance = float(np.linalg.norm(mine - other[name]) / np.linalg.norm(beside))
        if not distance < 5e-4:
            found[name] = distance
    return found


@pytest.mark.parametrize(
    ("shape", "padding", "has_noise"),
    [
        ((3, 3, 32, 32), "symmetric", True),
        ((2, 3, 51, 70), "same", True),
        ((5, 3, 33, 20), "symmetric", False),
    ],
)
def test_fused_blocks_train_as_mindspores_operators(
    shape, padding, has_noise, kernels, monkeypatch
):
    images = drawn(*shape)
    whole, parts = (
        Taken(network(kernels, monkeypatch, fused=f, padding=padding), images, has_noise=has_noise)
        for f in (True, False)
    )
    assert np.abs(whole.logits - parts.logits).max() <= 1e-4 * np.abs(parts.logits).max()
    assert far(parts.gradients, whole.gradients) == {}
    assert far(parts.statistics, whole.statistics) == {}


def test_the_number_of_threads_does_not_change_a_bit(kernels, monkeypatch):
    images = drawn(4, 3, 96, 96)
    threads = ctypes.CDLL(str(kernels.path)).set_threads
    try:
        taken = []
        for count in (1, 2, 5):
            threads(count)
            taken.append(Taken(network(kernels, monkeypatch, fused=True), images))
    finally:
        threads(1)
    assert all(taken[0].same_bits(other) for other in taken[1:])


def test_compiled_equals_pynative(kernels, monkeypatch):
    images = drawn(2, 3, 32, 32)
    eager, graph, again = (
        Taken(network(kernels, monkeypatch, fused=True, variant=SMALL), images, jit=jit)
        for jit in (False, True, True)
    )
    assert np.abs(eager.logits - graph.logits).max() <= 1e-5 * np.abs(eager.logits).max()
    assert far(eager.gradients, graph.gradients) == {}
    assert graph.same_bits(again)


def test_outside_training_nothing_is_fused(kernels, monkeypatch):
    images = drawn(2, 3, 32, 32)
    whole, parts = (
        network(kernels, monkeypatch, fused=f, variant=SMALL).set_train(False)(images).asnumpy()
        for f in (True, False)
    )
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize(
    ("shape", "padding"), [((3, 3, 32, 32), "symmetric"), ((2, 3, 51, 70), "same")]
)
def test_evaluated_as_mindspores_operators_and_the_statistics_stay(
    shape, padding, kernels, monkeypatch
):
    images, draw = drawn(*shape), np.random.default_rng(5)
    net = network(kernels, monkeypatch, fused=True, padding=padding).set_train(False)
    for buffer in batch_norm_buffers(net):
        values = draw.uniform(0.5, 2, buffer.shape).astype(np.float32)
        ms.ops.assign(buffer, ms.Tensor(values))
    ms.ops.assign(net.classifier.weight, drawn(*net.classifier.weight.shape))
    before = {b.name: b.asnumpy().copy() for b in batch_norm_buffers(net)}
    plain = net(images).asnumpy()
    evaluated = net.evaluated(images).asnumpy()
    assert 0 < np.abs(evaluated - plain).max() <= 1e-5 * np.abs(plain).max()

    def forward(given: ms.Tensor) -> ms.Tensor:
        return net.evaluated(given)

    compiled = ms.jit(forward)(images).asnumpy()
    assert np.abs(compiled - evaluated).max() <= 1e-6 * np.abs(plain).max()
    one = net.evaluated(images[:1]).asnumpy()
    assert np.abs(one - evaluated[:1]).max() <= 1e-6 * np.abs(plain).max()
    assert all(np.array_equal(b.asnumpy(), before[b.name]) for b in batch_norm_buffers(net))


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800001, 0xFFFFFFFF])
@pytest.mark.parametrize("part", ["se.reduce.bias", "se.expand.weight", "depthwise.weight"])
def test_a_weight_that_is_no_number_shows_in_the_logits(part, bits, kernels, monkeypatch):
    """Whatever the NaN's other bits are: one bit of memory that flips makes any."""
    net = network(kernels, monkeypatch, fused=True, variant=SMALL)
    weight = next(p for p in net.get_parameters() if p.name.endswith(part))
    values = weight.asnumpy().copy()
    values.reshape(-1).view(np.uint32)[0] = bits
    ms.ops.assign(weight, ms.Tensor(values))
    assert np.isnan(net(drawn(2, 3, 32, 32)).asnumpy()).any()
