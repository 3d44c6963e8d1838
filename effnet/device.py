"""MindSpore on the device that was asked for."""

from __future__ import annotations

import functools
import os

from effnet.errors import EffnetError


class DeviceMissing(EffnetError):
    """The device, or the library that drives it, is not here."""


def set_up(target: str, device_id: int | None = None, *, graph: bool = False) -> None:
    """Select device and mode; `device_id` is the environment's `DEVICE_ID` when not given.

    Nothing falls back in silence: raises `DeviceMissing` when MindSpore or the device is absent.
    """
    # Errors only: its warnings are about itself, and a log is for what this run does.
    os.environ.setdefault("GLOG_v", "3")
    try:
        import mindspore as ms
    except ImportError as error:
        raise DeviceMissing(
            f"MindSpore cannot be imported: {error}",
            hint="pip install 'effnet-tui[train]' in the environment of this Python",
        ) from error
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
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise DeviceMissing(
            f"device target {target} {device_id} is not usable here: {first}",
            hint=_HINTS.get(target, ""),
        ) from error


def thread_count() -> int:
    """Threads that this rank may compute with, as the launcher says in `OMP_NUM_THREADS`."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(text)) if text.isdigit() else 1


@functools.cache
def _limit_threads(count: int) -> None:
    """Once a process: MindSpore refuses a second time."""
    import mindspore as ms

    ms.device_context.cpu.op_tuning.threads_num(count)


_HINTS = {
    "GPU": "it wants CUDA 11.6: `effnet-launch doctor --target GPU` says what is missing",
    "Ascend": "CANN's set_env.sh must be sourced first: `effnet-launch doctor --target Ascend`",
}
