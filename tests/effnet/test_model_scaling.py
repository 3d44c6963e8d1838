"""The scaling table against the paper's and the reference's figures."""

from __future__ import annotations

import pytest

from effnet.model import scaling
from effnet.weights import names

# Trainable parameters with 1,000 classes, as torchvision publishes them (`num_params` of each
# EfficientNet_B*_Weights).
PARAMETERS = {
    "b0": 5_288_548,
    "b1": 7_794_184,
    "b2": 9_109_994,
    "b3": 12_233_232,
    "b4": 19_341_616,
    "b5": 30_389_784,
    "b6": 43_040_704,
    "b7": 66_347_960,
}


def size(shape):
    total = 1
    for length in shape:
        total *= length
    return total


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameters_are_as_many_as_published(variant):
    tensors = names.tensor_names("timm", variant, 1000)
    trained = [tensor.shape for tensor in tensors if ".moving_" not in tensor.ours]
    assert sum(map(size, trained)) == PARAMETERS[variant]


def test_b2_stage_by_stage():
    stages = {}
    for spec in scaling.blocks("b2"):
        stages.setdefault(spec.stage, []).append(spec)
    rows = [
        (len(s), s[0].kernel, s[0].stride, s[0].expand_ratio, s[0].in_channels, s[0].out_channels)
        for s in stages.values()
    ]
    assert rows == [
        (2, 3, 1, 1, 32, 16),
        (3, 3, 2, 6, 16, 24),
        (3, 5, 2, 6, 24, 48),
        (4, 3, 2, 6, 48, 88),
        (4, 5, 1, 6, 88, 120),
        (5, 5, 2, 6, 120, 208),
        (2, 3, 1, 6, 208, 352),
    ]
    assert [[spec.se_channels for spec in s] for s in stages.values()] == [
        [8, 4],
        [4, 6, 6],
        [6, 12, 12],
        [12, 22, 22, 22],
        [22, 30, 30, 30],
        [30, 52, 52, 52, 52],
        [52, 88],
    ]
    assert scaling.stem_channels("b2") == 32
    assert scaling.feature_channels("b2") == 1408


def test_drop_rates_grow_with_depth():
    rates = [spec.drop_rate for spec in scaling.blocks("b2", 0.2)]
    assert rates == pytest.approx([0.2 * i / 23 for i in range(23)])


def test_unknown_variant_is_named_with_those_known():
    with pytest.raises(scaling.UnknownVariant, match="'b9'") as caught:
        scaling.blocks("b9")
    assert "b0, b1, b2" in str(caught.value)
