"""Sets MindSpore up on the requested device."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from effnet.errors import INSTALL, EffnetError, first_line

AUTO = "auto"
"""The key `jit_level`: MindSpore selects how far it optimises."""


class DeviceMissing(EffnetError):
    """The device, or the library that drives it, is not here."""

    kind = "device"


def set_up(
    target: str, device_id: int | None = None, *, graph: bool = False, jit_level: str = AUTO
) -> None:
    """Select device and mode; `device_id` is the environment's `DEVICE_ID` when not given.

    It never falls back to another device: raises `DeviceMissing` without MindSpore or the device.
    """
    # Errors only: MindSpore's warnings are about itself.
    os.environ.setdefault("GLOG_v", "3")
    try:
        import mindspore as ms
    except ImportError as error:
        raise DeviceMissing(f"MindSpore cannot be imported: {error}", hint=INSTALL) from error
    if device_id is None:
        device_id = int(os.environ.get("DEVICE_ID", "0"))
    ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)
    if jit_level != AUTO:
        ms.set_context(jit_config={"jit_level": jit_level})
    try:
        if target == "CPU":
            ms.set_device("CPU")
            # Ranks share the cores: one thread each for MindSpore's runtime, as for OpenMP.
            _limit_threads(thread_count())
        else:
            ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        raise DeviceMissing(
            f"device target {target} {device_id} is not usable here: {first_line(error)}",
            hint=_HINTS.get(target, ""),
        ) from error


def compiled(function: Callable[..., Any], jit_level: str) -> Callable[..., Any]:
    """`function` as one graph. O2 is for cells in graph mode; functions beside them have none."""
    import mindspore as ms

    options = {} if jit_level in (AUTO, "O2") else {"jit_level": jit_level}
    made: Callable[..., Any] = ms.jit(function, **options)
    return made


def soc() -> str:
    """The Ascend's kind as MindSpore names it, `ascend910` (910A) or `ascend910b`; empty elsewhere.

    The function is MindSpore's own, for its checks (mindspore/train/model.py).
    """
    import mindspore as ms

    if ms.get_context("device_target") != "Ascend":
        return ""
    from mindspore._c_expression import MSContext

    return str(MSContext.get_instance().get_ascend_soc_version())


def thread_count() -> int:
    """Threads that this rank may compute with: `OMP_NUM_THREADS`, which the launcher sets."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(text)) if text.isdigit() else 1


@functools.cache
def _limit_threads(count: int) -> None:
    """Once a process: MindSpore refuses a second time."""
    import mindspore as ms

    ms.device_context.cpu.op_tuning.threads_num(count)


_HINTS = {
    "GPU": "MindSpore needs CUDA 11.6; to see what is missing: `effnet-launch doctor --target GPU`",
    "Ascend": "source CANN's set_env.sh first, then run `effnet-launch doctor --target Ascend`",
}
