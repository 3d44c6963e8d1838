"""What a step makes smaller: the network's loss for one batch, mixed images included."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from effnet.config import TrainConfig
from effnet.data.augment.mixing import Mixing
from effnet.model.efficientnet import EfficientNet
from effnet.optim.loss import SmoothedCrossEntropy


class TrainingLoss(nn.Cell):
    """Images, labels and noise of `effnet.data.Batch` -> the mean loss times `scale`, and the loss.

    Gradients are those of the first. The second is what is reported: it stays finite where a scale
    that is too large makes the first overflow, and that step is to be skipped, not to end the run.

    It mixes images where the configuration says so: `effnet.data.augment.mixing`.
    """

    def __init__(self, net: EfficientNet, config: TrainConfig) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss_of = SmoothedCrossEntropy.from_config(config)
        self.mixes = Mixing.from_config(config).is_on
        self.width = net.noise_width
        self.places = Tensor(np.arange(config.image_size, dtype=np.float32))
        self.turned = ops.ReverseV2(axis=[0])

    def construct(
        self, images: Tensor, labels: Tensor, noise: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.mixes:
            images, share = self.mixed(images, noise)
            logits = self.net(images, noise[:, : self.width])
            loss = self.loss_of(logits, labels, self.turned(labels), share)
        else:
            loss = self.loss_of(self.net(images, noise), labels)
        return loss * scale, loss

    def mixed(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The images, and the share of each one's own label, (N, 1)."""
        first = self.width
        rows = self.places.reshape((1, 1, -1, 1))
        columns = self.places.reshape((1, 1, 1, -1))
        top, bottom = _each(noise, first + 2), _each(noise, first + 3)
        left, right = _each(noise, first + 4), _each(noise, first + 5)
        inside = ops.logical_and(rows >= top, rows < bottom)
        inside = ops.logical_and(inside, ops.logical_and(columns >= left, columns < right))
        own = _each(noise, first) * (1 - ops.cast(inside, ms.float32))
        return images * own + self.turned(images) * (1 - own), noise[:, first + 1 : first + 2]


def _each(noise: Tensor, column: int) -> Tensor:
    """One number of each image, (N, 1, 1, 1)."""
    return noise[:, column : column + 1].reshape((-1, 1, 1, 1))
