"""The network by itself: sizes, first values, randomness, forms of the depthwise convolution."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from effnet.model import scaling
from effnet.model.depthwise import (
    COMPILED,
    PLAIN,
    TILED,
    DepthwiseConv,
    use_compiled_depthwise,
    use_plain_depthwise,
    whole_map_pays,
)
from effnet.model.efficientnet import EfficientNet, InvalidModel, batch_norm_buffers
from tests.effnet.graph_runs import SMALL

pytestmark = pytest.mark.mindspore


def normal(shape, seed=0):
    return ms.Tensor(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def apart(one, other):
    """The largest difference, as a share of the largest value."""
    return np.abs(one - other).max() / max(np.abs(one).max(), 1e-30)


@pytest.fixture(scope="module")
def b0():
    return EfficientNet("b0", num_classes=10, seed=1)


def test_b2_has_exactly_the_parameters_of_the_paper():
    net = EfficientNet()
    assert sum(p.size for p in net.trainable_params()) == 9_109_994
    buffers = batch_norm_buffers(net)
    assert sum(p.size for p in buffers) == 67_568
    assert not any(p.requires_grad for p in buffers)
    assert net.noise_width == 16 + 1408
    # The order that gradients, buckets and checkpoints rely on.
    again = EfficientNet()
    assert [p.name for p in again.trainable_params()] == [p.name for p in net.trainable_params()]


def test_first_values_follow_from_seed_and_name():
    np.random.seed(3)
    ms.set_seed(3)
    one = {p.name: p.asnumpy().copy() for p in EfficientNet("b0", 10, seed=7).get_parameters()}
    np.random.seed(4)
    ms.set_seed(4)
    two = {p.name: p.asnumpy() for p in EfficientNet("b0", 10, seed=7).get_parameters()}
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = {p.name: p.asnumpy() for p in EfficientNet("b0", 10, seed=8).get_parameters()}
    assert not np.array_equal(one["stem.weight"], other["stem.weight"])
    assert not np.array_equal(
        one["blocks.3.expand.weight"][:90], one["blocks.4.expand.weight"][:90, :24]
    )


def test_first_values_have_timms_spread(b0):
    values = {p.name: p.asnumpy() for p in b0.get_parameters()}
    for name, fan_out in {
        "stem.weight": 9 * 32,
        "blocks.15.depthwise.weight": 9,  # divided by the groups
        "blocks.15.se.expand.weight": 1152,
        "head.weight": 1280,
    }.items():
        assert values[name].std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
    assert np.abs(values["classifier.weight"]).max() == pytest.approx(10**-0.5, rel=0.01)
    assert not values["classifier.bias"].any()
    assert not values["blocks.15.se.expand.bias"].any()
    assert np.array_equal(values["head_norm.gamma"], np.ones(1280))


def test_noise_is_the_only_randomness(b0):
    b0.set_train(True)
    x = normal((4, 3, 32, 32))
    noise = ms.Tensor(np.random.RandomState(1).random_sample((4, b0.noise_width)).astype("f4"))
    assert np.array_equal(b0(x, noise).asnumpy(), b0(x, noise).asnumpy())
    ones = ms.Tensor(np.full((4, b0.noise_width), 0.999999, np.float32))
    assert not np.allclose(b0(x, ones).asnumpy(), b0(x, noise).asnumpy(), atol=1e-3)
    b0.set_train(False)
    assert np.array_equal(b0(x, noise).asnumpy(), b0(x).asnumpy())


def test_each_column_drops_its_block_for_its_image_only():
    """Noise 0 drops wherever a rate is above 0: what is left is the input of the block."""
    net = EfficientNet("b0", num_classes=10, dropout=0.5, drop_path=0.5, bn_momentum=1.0)
    skips = [i for i, keeps in enumerate(net.block_has_skip) if keeps]
    column = len(skips) // 2
    block = net.blocks[skips[column]]
    seen = {}
    original = block.construct

    def watched(x, scale=None):
        seen["x"], seen["y"] = x, original(x, scale)
        return seen["y"]

    block.construct = watched
    noise = np.full((3, net.noise_width), 0.999999, np.float32)
    noise[1, column] = 0.0
    net(normal((3, 3, 32, 32)), ms.Tensor(noise))
    same = [np.array_equal(seen["x"][i].asnumpy(), seen["y"][i].asnumpy()) for i in range(3)]
    assert same == [False, True, False]
    # Those kept are scaled up, so that the expectation is that of the whole branch.
    keep = net.block_keep[skips[column]]
    unscaled = original(seen["x"], ms.Tensor(np.full((3, 1, 1, 1), 1, np.float32)))
    kept, plain = (v[0].asnumpy() - seen["x"][0].asnumpy() for v in (seen["y"], unscaled))
    assert np.allclose(kept, plain / keep, atol=1e-5)


def test_dropped_features_leave_the_bias():
    net = EfficientNet("b0", num_classes=10, dropout=0.5, drop_path=0.0)
    noise = np.full((2, net.noise_width), 0.999999, np.float32)
    noise[0, -net.feature_channels :] = 0.0
    logits = net(normal((2, 3, 32, 32)), ms.Tensor(noise)).asnumpy()
    assert np.array_equal(logits[0], net.classifier.bias.asnumpy())
    assert np.abs(logits[1]).max() > 0


def test_compiled_equals_pynative(monkeypatch, kernels):
    """On a B0 of a quarter of the channels and half of the blocks: compiling takes the time."""
    monkeypatch.setitem(scaling.VARIANTS, "b0", SMALL)
    net = EfficientNet("b0", num_classes=10)
    use_compiled_depthwise(net, kernels)
    x, noise = normal((2, 3, 32, 32)), ms.ops.zeros((2, net.noise_width), ms.float32) + 0.9

    def loss(x, noise):
        return net(x, noise).square().mean()

    function = ms.value_and_grad(loss, None, net.trainable_params())
    value, grads = function(x, noise)
    jitted = ms.jit(function)
    jitted_value, jitted_grads = jitted(x, noise)
    assert float(value.asnumpy()) == pytest.approx(float(jitted_value.asnumpy()), rel=1e-5)
    for parameter, one, two in zip(net.trainable_params(), grads, jitted_grads, strict=True):
        assert np.allclose(one.asnumpy(), two.asnumpy(), rtol=1e-3, atol=1e-5), parameter.name
    again = jitted(x, noise)[1]
    assert all(
        np.array_equal(one.asnumpy(), two.asnumpy())
        for one, two in zip(jitted_grads, again, strict=True)
    )


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (7, 8), (9, 9), (17, 22), (33, 20)])
def test_every_form_is_the_same_convolution(size, kernel, stride, padding, kernels):
    """Eleven channels: one block of eight, and a part of one."""
    channels = 11
    cell = DepthwiseConv(channels, kernel, stride, padding).set_train(True)
    assert cell.form == TILED
    weight = normal((channels, 1, kernel, kernel), seed=1)
    ms.ops.assign(cell.weight, weight)
    x = normal((2, channels, *size), seed=2)
    outputs, gradients = [], []
    for form in (PLAIN, TILED, COMPILED):
        if form == COMPILED:
            use_compiled_depthwise(cell, kernels)
        cell.form = form
        y = cell(x)
        sens = normal(y.shape, seed=3)
        grad = ms.ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)
        (dx,), (dw,) = grad(cell, [cell.weight])(x, sens)
        outputs.append(y.asnumpy())
        gradients.append((dx.asnumpy(), dw.asnumpy()))
    assert outputs[0].shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))
    plain, tiled, compiled = outputs
    assert np.allclose(plain, tiled, atol=1e-4)
    assert apart(tiled, compiled) < 1e-6
    for one, two, three in zip(*gradients, strict=True):
        assert np.allclose(one, two, atol=1e-4 * max(1, np.abs(one).max()))
        assert apart(two, three) < 1e-6


def test_both_forms_are_among_the_sizes_tested():
    assert whole_map_pays(9, 9, 1)
    assert whole_map_pays(16, 16, 2)
    assert not whole_map_pays(16, 16, 1)
    assert not whole_map_pays(17, 22, 2)


def test_export_has_ordinary_convolutions_and_a_free_batch(tmp_path):
    import onnx

    from effnet.onnx_runtime import load

    onnxruntime = load()

    net = EfficientNet("b0", num_classes=10, padding="same")
    use_plain_depthwise(net)
    net.set_train(False)
    x = normal((3, 3, 40, 36))
    expected = net(x).asnumpy()
    path = tmp_path / "net.onnx"
    ms.onnx.export(
        net,
        normal((1, 3, 40, 36)),
        file_name=str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
    assert kinds.count("Conv") == 1 + 16 * 4 - 1 + 16 + 1  # stem, blocks, their SE, head
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": x.asnumpy()})
    assert np.abs(logits - expected).max() <= 1e-5 + 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    "wrong",
    [
        {"padding": "valid"},
        {"num_classes": 0},
        {"dropout": 1.0},
        {"drop_path": -0.1},
        {"bn_momentum": 1.1},
        {"bn_eps": 0.0},
    ],
)
def test_invalid_networks_are_refused(wrong):
    with pytest.raises(InvalidModel, match=next(iter(wrong))):
        EfficientNet("b0", **wrong)
