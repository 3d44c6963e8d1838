"""The loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.mindspore


def numpy_losses(logits: np.ndarray, labels: np.ndarray, on: float, off: float) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full(logits.shape, off)
    rows = np.flatnonzero(labels >= 0)
    target[rows, labels[rows]] = on
    return np.where(labels >= 0, -(target * log_p).sum(axis=1), 0.0)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 4, (9, 7)).astype(np.float32)
    labels = np.array([0, 6, 3, -1, 2, 2, -1, 5, 1], dtype=np.int32)
    return logits, labels


@pytest.mark.parametrize(
    ("mode", "on", "off"),
    [("reference", 0.9, 0.1 / 6), ("uniform", 0.9 + 0.1 / 7, 0.1 / 7)],
)
def test_equals_numpy_and_ignores_padding(case, mode: str, on: float, off: float) -> None:
    from mindspore import Tensor

    from effnet.optim.loss import SmoothedCrossEntropy

    logits, labels = case
    want = numpy_losses(logits, labels, on, off)
    each = SmoothedCrossEntropy(7, 0.1, mode, averaged=False)(
        Tensor(logits), Tensor(labels)
    ).asnumpy()
    np.testing.assert_allclose(each, want, rtol=1e-5)
    assert each[3] == 0.0
    assert each[6] == 0.0
    mean = SmoothedCrossEntropy(7, 0.1, mode)(Tensor(logits), Tensor(labels))
    np.testing.assert_allclose(float(mean.asnumpy()), want.sum() / 7, rtol=1e-5)


def test_half_precision_logits_give_a_float32_loss(case) -> None:
    import mindspore as ms
    from mindspore import Tensor

    from effnet.optim.loss import SmoothedCrossEntropy

    logits, labels = case
    loss = SmoothedCrossEntropy(7)(Tensor(logits, ms.float16), Tensor(labels))
    assert loss.dtype == ms.float32
    want = numpy_losses(logits.astype(np.float16), labels, 1.0, 0.0).sum() / 7
    np.testing.assert_allclose(float(loss.asnumpy()), want, rtol=1e-5)


def test_a_batch_of_padding_only_has_no_loss(case) -> None:
    from mindspore import Tensor

    from effnet.optim.loss import SmoothedCrossEntropy

    logits, labels = case
    nothing = Tensor(np.full_like(labels, -1))
    assert float(SmoothedCrossEntropy(7, 0.1)(Tensor(logits), nothing).asnumpy()) == 0.0


def test_gradient_is_probability_minus_target_over_the_valid_rows(case) -> None:
    import mindspore as ms
    from mindspore import Tensor

    from effnet.optim.loss import SmoothedCrossEntropy

    logits, labels = case
    loss = SmoothedCrossEntropy(7, 0.1)
    grad = ms.value_and_grad(loss, 0)(Tensor(logits), Tensor(labels))[1].asnumpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    target = np.full(p.shape, 0.1 / 6)
    rows = np.flatnonzero(labels >= 0)
    target[rows, labels[rows]] = 0.9
    want = np.where(labels[:, None] >= 0, p - target, 0) / 7
    np.testing.assert_allclose(grad, want, atol=1e-6)


def test_without_smoothing_and_with_one_class() -> None:
    from effnet.optim.loss import targets

    assert targets(0.0, 1000) == (1.0, 0.0)
    assert targets(0.1, 1000) == (0.9, 0.1 / 999)
    assert targets(0.0, 1) == (1.0, 0.0)
    with pytest.raises(ValueError, match="label_smooth_mode"):
        targets(0.1, 10, "other")
