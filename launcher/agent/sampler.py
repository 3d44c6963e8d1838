"""Memory and load of a node's ranks, sampled in its own thread: no answer may hold the agent up.

Devices are asked by their vendor's tool, a process of its own: a fault in the vendor's library
would end the agent, and with it the ranks.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from launcher.core.devices import nvidia_smi
from launcher.core.devices.model import DeviceSample
from launcher.core.devices.npu_smi import NpuInfo, parse_clocks, parse_info
from launcher.core.plan.model import Plan
from launcher.core.run import metrics
from launcher.core.run.metrics import DEVICE_BYTES, LOAD_BYTES, DeviceRecord, LoadRecord
from launcher.core.run.paths import AttemptPaths, RankPaths
from launcher.process import load
from launcher.process.load import Rates
from launcher.process.tools import output
from launcher.store.record_file import RecordFile

SAMPLE_S = 2.0
LOOKS = 4
"""Per sample, at the states of threads."""
TOOL_LIMIT_S = 20.0


Sample = Callable[[int], DeviceSample | None]
"""A rank's process id -> its sample now; None when there is none."""


class HasStepTimes(Protocol):
    """What the reports of a rank say about its steps."""

    def step_times(self) -> tuple[float | None, float | None]:
        """Means since the last call: (ms waited for images, ms spent on checkpoints) a step."""


class Sampler:
    """Writes `device.bin` and `load.bin` of each rank every `period_s`.

    `pids` is read at each turn, and so are the reports of `logs`.
    """

    def __init__(
        self,
        ranks: Mapping[int, RankPaths],
        pids: Callable[[], Mapping[int, int]],
        samples: Mapping[int, Sample],
        logs: Mapping[int, HasStepTimes],
        period_s: float = SAMPLE_S,
    ) -> None:
        self._files = {
            rank: (RecordFile(paths.device, DEVICE_BYTES), RecordFile(paths.load, LOAD_BYTES))
            for rank, paths in ranks.items()
        }
        self._pids = pids
        self._samples = samples
        self._logs = logs
        self._period_s = period_s
        self._rates = Rates()
        self._blocked: Counter[int] = Counter()
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
        looks = 0
        while not self._stop.wait(self._period_s / LOOKS):
            pids = {rank: pid for rank, pid in self._pids().items() if rank in self._samples}
            self._blocked.update(rank for rank, pid in pids.items() if load.is_blocked(pid))
            looks += 1
            if looks < LOOKS:
                continue
            node = node_load(self._rates.of("node", load.of_node()))
            for rank, pid in pids.items():
                own = process_load(self._rates.of(pid, load.of_process(pid)))
                own["blocked_percent"] = self._blocked[rank] / LOOKS * 100
                if rank in self._logs:
                    own["input_ms"], own["save_ms"] = self._logs[rank].step_times()
                self._write(rank, self._samples[rank](pid), {**node, **own})
            looks = 0
            self._blocked.clear()

    def _write(
        self, rank: int, sample: DeviceSample | None, figures: Mapping[str, float | None]
    ) -> None:
        device, loads = self._files[rank]
        now_s = time.time()
        found = sample or DeviceSample()
        if found.used_bytes is not None:
            record = DeviceRecord(now_s, found.used_bytes, found.limit_bytes, found.use_percent)
            device.append(metrics.pack_device(record))
            device.flush()
        of_device = found.power_w, found.temperature_c, found.clock_mhz
        loads.append(metrics.pack_load(LoadRecord(now_s, *of_device, **figures)))
        loads.flush()


def process_load(rates: Mapping[str, float]) -> dict[str, float | None]:
    """Fields of a load record from the growth of a process's counters."""
    shares = ("cpu", "core_wait", "throttled", "io_pressure", "memory_pressure")
    found: dict[str, float | None] = {
        f"{name}_percent": rates[f"{name}_s"] * 100 for name in shares if f"{name}_s" in rates
    }
    counts = ("limit_hits", "major_faults")
    return found | {f"{name}_s": rates[name] for name in counts if name in rates}


def node_load(rates: Mapping[str, float]) -> dict[str, float | None]:
    """Those of a node. The wait for disks is a part of the CPU time of all cores."""
    found: dict[str, float | None] = {
        f"{name}_s": rates[name] for name in ("retransmits", "network_errors") if name in rates
    }
    if rates.get("cpu_s"):
        share = rates.get("io_wait_s", 0.0) / rates["cpu_s"] * 100
        found["io_wait_percent"] = min(share, 100.0)
    disks = [rate for name, rate in rates.items() if name.startswith("disk_s:")]
    if disks:
        found["disk_busy_percent"] = min(max(disks) * 100, 100.0)
    return found


def resident_memory(pid: int) -> DeviceSample | None:
    """Resident memory of one process, and what this machine or a cgroup around it has for all."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, IndexError):
        return None
    if not pages:  # it is ending: the kernel has taken its memory back
        return None
    return DeviceSample(pages * os.sysconf("SC_PAGE_SIZE"), load.memory_limit_bytes(pid))


def for_target(target: str, period_s: float = SAMPLE_S) -> Callable[[int | None], Sample]:
    """How a rank is sampled: by the device's own tool, on a CPU by what is resident.

    -> a function from a rank's device to its sample.
    """
    if target == "CPU":
        return lambda device: resident_memory
    devices = Devices(NpuSmi() if target == "Ascend" else ask_nvidia_smi, period_s)
    return lambda device: resident_memory if device is None else devices.of(device)


def started(
    plan: Plan,
    attempt: AttemptPaths,
    pids: Callable[[], Mapping[int, int]],
    logs: Mapping[int, HasStepTimes],
) -> Sampler:
    """A running sampler of a node's ranks. Raises `OSError`."""
    sample_of = for_target(plan.device_target)
    devices = {rank.rank: rank.device_id for rank in plan.ranks if rank.rank is not None}
    paths = {rank: attempt.rank(rank) for rank in devices}
    samples = {rank: sample_of(device) for rank, device in devices.items()}
    made = Sampler(paths, pids, samples, logs)
    made.start()
    return made


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
