"""The MindSpore cluster's scheduler: `python -m effnet.scheduler` with `MS_ROLE=MS_SCHED`.

It only brings the ranks together, so it needs no training script, no data, and of MindSpore only
the native library: loading that alone takes a fifth of the time that `import mindspore` does.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from typing import Any


def main() -> int:
    """Returns when the ranks are done; MindSpore ends the process itself when they die."""
    if os.environ.get("MS_ROLE") != "MS_SCHED":
        print("error: effnet.scheduler needs MS_ROLE=MS_SCHED", file=sys.stderr)
        return 2
    native = _native_library()
    if native is None:
        import mindspore as ms
        from mindspore import communication

        ms.set_device("CPU")
        communication.init()
        return 0
    # On a device's machine its default would be the device, which the scheduler must not take.
    native.MSContext.get_instance().set_param(native.ms_ctx_param.device_target, "CPU")
    try:
        native.init_cluster()
    except (RuntimeError, ValueError) as error:
        print(f"error: the ranks could not connect: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    # Its exit handlers need the rest of MindSpore, which is not loaded.
    os._exit(0)


def _native_library() -> Any:
    """`mindspore._c_expression` without the package around it; None where that can't be had."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.submodule_search_locations is None:
        return None
    package = types.ModuleType("mindspore")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["mindspore"] = package
    try:
        native = importlib.import_module("mindspore._c_expression")
        if all(hasattr(native, name) for name in ("init_cluster", "MSContext", "ms_ctx_param")):
            return native
    except ImportError:
        pass
    for name in [name for name in sys.modules if name.partition(".")[0] == "mindspore"]:
        del sys.modules[name]
    return None


if __name__ == "__main__":
    sys.exit(main())
