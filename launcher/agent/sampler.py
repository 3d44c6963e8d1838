"""Memory and load of a node's ranks, sampled in its own thread: no answer may hold the agent up.

Devices are asked by their vendor's tool, a process of its own: a fault in the vendor's library
would end the agent, and with it the ranks.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from launcher.core.devices import nvidia_smi
from launcher.core.devices.model import DeviceSample
from launcher.core.devices.npu_smi import NpuInfo, parse_clocks, parse_info
from launcher.core.run import metrics
from launcher.core.run.metrics import DEVICE_BYTES, LOAD_BYTES, DeviceRecord, LoadRecord
from launcher.core.run.paths import RankPaths
from launcher.process.tools import output
from launcher.store.record_file import RecordFile

SAMPLE_S = 2.0
TOOL_LIMIT_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


Sample = Callable[[int], DeviceSample | None]
"""A rank's process id -> its sample now; None when there is none."""


class Sampler:
    """Writes `device.bin` and `load.bin` of each rank every `period_s`.

    `pids` is read at each turn.
    """

    def __init__(
        self,
        ranks: Mapping[int, RankPaths],
        pids: Callable[[], Mapping[int, int]],
        samples: Mapping[int, Sample],
        period_s: float = SAMPLE_S,
    ) -> None:
        self._files = {
            rank: (RecordFile(paths.device, DEVICE_BYTES), RecordFile(paths.load, LOAD_BYTES))
            for rank, paths in ranks.items()
        }
        self._pids = pids
        self._samples = samples
        self._period_s = period_s
        self._cpu = CpuUse()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * self._period_s)
        if not self._thread.is_alive():
            for files in self._files.values():
                for file in files:
                    file.close()

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            io_wait = self._cpu.io_wait()
            for rank, pid in dict(self._pids()).items():
                if rank in self._samples:
                    self._write(rank, self._samples[rank](pid), self._cpu.of(pid), io_wait)

    def _write(
        self, rank: int, sample: DeviceSample | None, cpu: float | None, io_wait: float | None
    ) -> None:
        device, load = self._files[rank]
        now_s = time.time()
        found = sample or DeviceSample()
        if found.used_bytes is not None:
            record = DeviceRecord(now_s, found.used_bytes, found.limit_bytes, found.use_percent)
            device.append(metrics.pack_device(record))
            device.flush()
        of_device = found.power_w, found.temperature_c, found.clock_mhz
        load.append(metrics.pack_load(LoadRecord(now_s, *of_device, cpu, io_wait)))
        load.flush()


class CpuUse:
    """CPU time of processes, and the node's wait for disks, each since it was asked last."""

    def __init__(self) -> None:
        self._ticks: dict[int, tuple[float, int]] = {}
        self._node: tuple[float, float] | None = None

    def of(self, pid: int) -> float | None:
        """Percent of one core, of all threads; `None` the first time."""
        try:
            # The name in parentheses may have spaces; after it come the state and the numbers.
            after = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            ticks = int(after[11]) + int(after[12])
        except (OSError, IndexError, ValueError):
            return None
        now = time.monotonic()
        before, self._ticks[pid] = self._ticks.get(pid), (now, ticks)
        if before is None or now <= before[0] or ticks < before[1]:
            return None
        return (ticks - before[1]) / _TICKS_PER_S / (now - before[0]) * 100

    def io_wait(self) -> float | None:
        """Percent of the CPU time of all cores; `None` the first time."""
        times = psutil.cpu_times()
        now = float(times.iowait), float(sum(times))
        before, self._node = self._node, now
        if before is None or now[1] <= before[1]:
            return None
        return min(max((now[0] - before[0]) / (now[1] - before[1]) * 100, 0.0), 100.0)


def resident_memory(pid: int) -> DeviceSample | None:
    """Resident memory of one process, and what this machine or cgroup has for all."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, IndexError):
        return None
    if not pages:  # it is ending: the kernel has taken its memory back
        return None
    return DeviceSample(pages * os.sysconf("SC_PAGE_SIZE"), memory_limit())


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
    """How a rank is sampled: by the device's own tool, on a CPU by what is resident.

    -> a function from a rank's device to its sample.
    """
    if target == "CPU":
        return lambda device: resident_memory
    devices = Devices(NpuSmi() if target == "Ascend" else ask_nvidia_smi, period_s)
    return lambda device: resident_memory if device is None else devices.of(device)


class Devices:
    """A vendor's tool, asked once for all ranks of a node: one call takes up to seconds."""

    def __init__(self, ask: Callable[[], Mapping[int, DeviceSample]], period_s: float) -> None:
        self._ask = ask
        self._period_s = period_s
        self._known: Mapping[int, DeviceSample] = {}
        self._asked_at = -math.inf

    def of(self, device: int) -> Sample:
        """One device; no samples where the tool is not there or does not list it."""

        def sample(pid: int) -> DeviceSample | None:
            now = time.monotonic()
            if now - self._asked_at >= self._period_s / 2:
                self._asked_at = now
                self._known = self._ask()
            return self._known.get(device)

        return sample


class NpuSmi:
    """`npu-smi info` for all devices, and the clock of one card each time it is asked."""

    def __init__(self) -> None:
        self._clocks: dict[tuple[int, int], float] = {}
        self._turn = 0

    def __call__(self) -> dict[int, DeviceSample]:
        info = ask_npu_smi()
        cards = sorted({device.npu_id for device in info.devices})
        if cards:
            card = cards[self._turn % len(cards)]
            self._turn += 1
            argv = ["npu-smi", "info", "-t", "common", "-i", str(card)]
            clocks = parse_clocks(output(argv, os.environ, TOOL_LIMIT_S)[0])
            self._clocks.update({(card, chip): clock for chip, clock in clocks.items()})
        return {
            device.device_id: DeviceSample(
                device.memory_used_bytes,
                device.memory_limit_bytes,
                device.use_percent,
                device.power_w,
                device.temperature_c,
                self._clocks.get((device.npu_id, device.chip_id)),
            )
            for device in info.devices
        }


def ask_npu_smi() -> NpuInfo:
    """All of `npu-smi info`; without devices where the tool is not there or does not answer."""
    return parse_info(output(["npu-smi", "info"], os.environ, TOOL_LIMIT_S)[0])


def ask_nvidia_smi() -> dict[int, DeviceSample]:
    """All GPUs by index; none where nvidia-smi is not there or does not answer."""
    argv = [nvidia_smi.TOOL, *nvidia_smi.SAMPLE_QUERY]
    return nvidia_smi.parse_samples(output(argv, os.environ, TOOL_LIMIT_S)[0])
