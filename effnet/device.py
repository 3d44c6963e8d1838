"""Sets MindSpore up on the requested device."""

from __future__ import annotations

import functools
import os

from effnet.errors import INSTALL, EffnetError, first_line


class DeviceMissing(EffnetError):
    """The device, or the library that drives it, is not here."""

    kind = "device"


def set_up(target: str, device_id: int | None = None, *, graph: bool = False) -> None:
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
