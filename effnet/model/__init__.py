"""EfficientNet B0 to B7 in MindSpore."""

# The names below are imported on first use: `scaling` beside them is arithmetic, and who needs only
# its table should not wait for MindSpore.

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effnet.model.depthwise import use_plain_depthwise
    from effnet.model.efficientnet import EfficientNet, batch_norm_buffers, create

__all__ = ["EfficientNet", "batch_norm_buffers", "create", "use_plain_depthwise"]

_HOMES = {
    "use_plain_depthwise": "effnet.model.depthwise",
    "EfficientNet": "effnet.model.efficientnet",
    "batch_norm_buffers": "effnet.model.efficientnet",
    "create": "effnet.model.efficientnet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
