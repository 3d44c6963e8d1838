"""The one place that imports onnxruntime, with its telemetry off."""

from __future__ import annotations

import os
from types import ModuleType


def load() -> ModuleType:
    """The module. Raises ImportError."""
    # From 1.29 on, its Linux wheels write a device id into ~/.cache/Microsoft at import and send
    # names of models and hardware to their maker, unless this is set.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    found: ModuleType = onnxruntime
    return found
