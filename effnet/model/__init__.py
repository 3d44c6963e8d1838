"""EfficientNet B0 to B7 in MindSpore."""

from effnet.model.depthwise import use_plain_depthwise
from effnet.model.efficientnet import EfficientNet, batch_norm_buffers, create

__all__ = ["EfficientNet", "batch_norm_buffers", "create", "use_plain_depthwise"]
