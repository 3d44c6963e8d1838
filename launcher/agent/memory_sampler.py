"""Memory of a node's ranks, sampled in a thread of its own: no answer may hold the agent up."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.core.devices.npu_smi import NpuInfo, parse_info
from launcher.core.run.metrics import DEVICE_BYTES, DeviceRecord, pack_device
from launcher.process.tools import output
from launcher.store.record_file import RecordFile

SAMPLE_S = 2.0
NPU_SMI_LIMIT_S = 20.0

Sample = Callable[[int], "DeviceRecord | None"]
"""A rank's process id -> its sample now; None when there is none."""


class Sampler:
    """Writes one `device.bin` per rank every `period_s`. `pids` is read at each turn."""

    def __init__(
        self,
        files: Mapping[int, Path],
        pids: Callable[[], Mapping[int, int]],
        samples: Mapping[int, Sample],
        period_s: float = SAMPLE_S,
    ) -> None:
        self._files = {rank: RecordFile(path, DEVICE_BYTES) for rank, path in files.items()}
        self._pids = pids
        self._samples = samples
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * self._period_s)
        if not self._thread.is_alive():
            for file in self._files.values():
                file.close()

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            for rank, pid in dict(self._pids()).items():
                record = self._samples[rank](pid) if rank in self._samples else None
                if record is not None:
                    self._files[rank].append(pack_device(record))
                    self._files[rank].flush()


def resident_memory(pid: int) -> DeviceRecord | None:
    """Resident memory of one process, and what this machine or cgroup has for all."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, IndexError):
        return None
    used = pages * os.sysconf("SC_PAGE_SIZE")
    return DeviceRecord(time.time(), used, memory_limit(), None)


def memory_limit() -> int | None:
    """Bytes of memory that this machine, or the cgroup that we are in, has."""
    limits = []
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text(encoding="ascii")))
    return min(limits, default=None)


def for_target(target: str, period_s: float = SAMPLE_S) -> Callable[[int | None], Sample]:
    """How the memory of a rank is sampled: by the device's own tool, on a CPU by what is resident.

    -> a function from a rank's device to its sample.
    """
    if target == "CPU":
        return lambda device: resident_memory
    npu = NpuSmi(period_s)
    of_device = npu.memory if target == "Ascend" else nvml_memory
    return lambda device: resident_memory if device is None else of_device(device)


class NpuSmi:
    """`npu-smi info`, asked once for all ranks of a node: one call takes seconds.

    A process of its own, and not the vendor's library (DCMI) in ours: a fault in that library would
    end the agent, and with it the ranks.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._known = NpuInfo("", (), ())
        self._asked_at = -math.inf

    def memory(self, device: int) -> Sample:
        """Memory and use of one Ascend device; no samples where npu-smi is not there."""

        def sample(pid: int) -> DeviceRecord | None:
            found = self.info().device(device)
            if found is None or found.memory_used_bytes is None:
                return None
            return DeviceRecord(
                time.time(), found.memory_used_bytes, found.memory_limit_bytes, found.use_percent
            )

        return sample

    def info(self) -> NpuInfo:
        """The answer of this period; empty when there is none."""
        now = time.monotonic()
        if now - self._asked_at >= self._period_s / 2:
            self._asked_at = now
            self._known = ask_npu_smi()
        return self._known


def ask_npu_smi() -> NpuInfo:
    """All of `npu-smi info`; without devices where the tool is not there or does not answer."""
    return parse_info(output(["npu-smi", "info"], os.environ, NPU_SMI_LIMIT_S)[0])


def nvml_memory(device: int) -> Sample:
    """Memory and use of one NVIDIA device by NVML; no samples where NVML is not there."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device)
    except pynvml.NVMLError:
        return lambda pid: None

    def sample(pid: int) -> DeviceRecord | None:
        try:
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            use = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
        except pynvml.NVMLError:
            return None
        return DeviceRecord(time.time(), int(memory.used), int(memory.total), float(use))

    return sample
