"""Mixup and CutMix are timm's: rectangles, images, targets and the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from effnet.config import resolve
from effnet.data.augment.mixing import COLUMNS, Mixing, cut
from effnet.data.rng import stream

GOLDEN = np.load(Path(__file__).parent / "golden" / "training.npz")
"""From timm, by golden/make_training.py."""
CASES = ("mixup", "cut_middle", "cut_corner")
SIDE, CLASSES = 12, 5


def row(case: str) -> tuple[float, ...]:
    share, cuts, first, second = GOLDEN[f"{case}.given"].tolist()
    return cut(SIDE, share, int(first), int(second)) if cuts else (share, share, 0, 0, 0, 0)


@pytest.mark.mindspore
@pytest.mark.parametrize("case", CASES)
def test_images_and_loss_are_timms(case: str) -> None:
    import mindspore as ms
    from mindspore import nn

    from effnet.train.steps.loss import TrainingLoss

    class Fixed(nn.Cell):
        """A network whose logits are those of the golden file."""

        noise_width = 3

        def construct(self, images: Any, noise: Any) -> Any:
            assert noise.shape == (6, 3)
            return ms.Tensor(GOLDEN["logits"])

    sets = [f"class_num={CLASSES}", f"image_size={SIDE}", "mixup=0.2"]
    config = resolve("CPU", sets=[*sets, "label_smooth_mode=uniform"]).config
    loss = TrainingLoss(Fixed(), config)
    columns = np.tile(np.array(row(case), np.float32), (6, 1))
    noise = ms.Tensor(np.concatenate((np.zeros((6, 3), np.float32), columns), axis=1))
    images = ms.Tensor(GOLDEN["images"])
    mixed, _ = loss.mixed(images, noise)
    np.testing.assert_allclose(mixed.asnumpy(), GOLDEN[f"{case}.images"], atol=1e-6)
    scaled, found = loss(images, ms.Tensor(GOLDEN["labels"]), noise, ms.Tensor(2.0))
    assert float(found.asnumpy()) == pytest.approx(float(GOLDEN[f"{case}.loss"]), rel=1e-5)
    assert float(scaled.asnumpy()) == 2 * float(found.asnumpy())


def test_the_share_of_the_label_is_the_area_that_stays() -> None:
    for seed in range(300):
        image_share, share, top, bottom, left, right = Mixing(0, 1.0, 33).draw(stream("t", seed))
        assert image_share == 1.0
        assert 0 <= top <= bottom <= 33
        assert 0 <= left <= right <= 33
        assert share == pytest.approx(1 - (bottom - top) * (right - left) / 33**2)


def test_each_batch_has_its_own_draw_and_one_of_the_two_kinds() -> None:
    mixing = Mixing(0.2, 1.0, 32)
    columns = mixing.columns(4, 500, stream("t", 1))
    assert columns.shape == (2000, COLUMNS)
    batches = columns.reshape(500, 4, COLUMNS)
    assert (batches == batches[:, :1]).all()
    cuts = (batches[:, 0, 0] == 1.0).mean()
    assert 0.4 < cuts < 0.6
    assert np.array_equal(columns, mixing.columns(4, 500, stream("t", 1)))
    assert not Mixing(0, 0, 32).is_on


def test_shares_follow_the_beta_distribution() -> None:
    shares = np.array([Mixing(0.2, 0, 32).draw(stream("t", i))[0] for i in range(2000)])
    # Beta(0.2, 0.2): a mean of 1/2, a variance of 1/5.6, and most of it near 0 and 1.
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / 5.6, abs=0.01)
