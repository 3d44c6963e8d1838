"""The output of Ascend's ``npu-smi info``: devices, health, memory and processes.

Source: the vendor's npu-smi reference (hiascend.com), the pages on basic information and on health.
A chip has two lines: NPU, name, health, power, temperature; then chip, physical id where the driver
shows it, bus, use, and memory. Columns are found by title, because products differ in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MEGABYTE = 1 << 20

HEALTH = {
    "OK": "healthy",
    "Warning": "minor alarm: it works, but near a limit; see the vendor's alarm list",
    "Alarm": "major alarm: computations on it may fail or be slow",
    "Critical": "critical alarm: do not train on it",
    "UNKNOWN": "the device is missing or has not started",
}
"""The five states of the vendor's reference, and what they mean."""

_VERSION = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")
_COMMON = re.compile(r"^\s*(Chip ID|Aicore curFreq\(MHZ\))\s*:\s*(\S+)\s*$", re.MULTILINE)
_USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")
_TITLE = re.compile(r"\S+(?: id| name| memory\S*| in \S+)*")


@dataclass(frozen=True)
class NpuDevice:
    """One chip. ``device_id`` is what ``DEVICE_ID`` and rank tables call it.

    ``memory_*`` is the device's own memory (HBM), where it has some.
    """

    npu_id: int
    chip_id: int
    device_id: int
    name: str
    health: str
    use_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_limit_bytes: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None

    @property
    def health_text(self) -> str:
        """Health in words."""
        return HEALTH.get(self.health, f"npu-smi reports {self.health!r}")


@dataclass(frozen=True)
class NpuProcess:
    """A process that holds device memory; in a container npu-smi shows the host's pid."""

    npu_id: int
    chip_id: int
    pid: int
    name: str


@dataclass(frozen=True)
class NpuInfo:
    """All of ``npu-smi info``."""

    version: str
    devices: tuple[NpuDevice, ...]
    processes: tuple[NpuProcess, ...]

    def device(self, device_id: int) -> NpuDevice | None:
        """The chip that ``DEVICE_ID`` means."""
        return next((item for item in self.devices if item.device_id == device_id), None)

    def processes_on(self, device: NpuDevice) -> tuple[NpuProcess, ...]:
        """The processes that hold memory of a chip."""
        place = (device.npu_id, device.chip_id)
        return tuple(item for item in self.processes if (item.npu_id, item.chip_id) == place)


def parse_info(text: str) -> NpuInfo:
    """The devices and processes in the output of ``npu-smi info``; other text has none."""
    version = _VERSION.search(text)
    titles: list[list[str]] = []
    devices: list[NpuDevice] = []
    processes: list[NpuProcess] = []
    first: dict[str, str] | None = None
    for line in text.splitlines():
        cells = _cells(line)
        if not cells:
            continue
        if cells[0].split()[:1] == ["NPU"]:
            titles, first = [_titles(line)], None
        elif len(titles) == 1 and cells[0].split()[:1] == ["Chip"]:
            titles.append(_titles(line))
        elif not titles or len(cells) < 3:
            continue
        elif "Process" in " ".join(titles[0]):
            process = _process(cells)
            if process is not None:
                processes.append(process)
        elif first is None:
            first = _named(titles[0], cells)
        elif len(titles) > 1:
            device = _device(first, _named(titles[1], cells))
            if device is not None:
                devices.append(device)
            first = None
    return NpuInfo(version[1] if version else "", _numbered(devices), tuple(processes))


def parse_clocks(text: str) -> dict[int, float]:
    """The AI cores' clock in MHz by chip, in the output of ``npu-smi info -t common -i N``."""
    clocks: dict[int, float] = {}
    chip = 0
    for title, value in _COMMON.findall(text):
        if title == "Chip ID":
            chip = _int(value) or 0
        elif (clock := _float(value)) is not None:
            clocks.setdefault(chip, clock)
    return clocks


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    if not stripped.startswith("|") or not stripped.endswith("|"):
        return []
    return [cell.strip() for cell in stripped[1:-1].split("|")]


def _titles(line: str) -> list[str]:
    return _TITLE.findall(" ".join(f" {cell} " for cell in _cells(line)))


def _named(titles: list[str], cells: list[str]) -> dict[str, str]:
    """Title -> value. A value is one word, but for memory: ``3416 / 65536``."""
    joined = " ".join(_USAGE.sub(r"\1/\2", cell) for cell in cells)
    words = joined.split()
    if len(words) < len(titles) and "Bus-Id" in titles:
        # `Chip  Device | Bus-Id`: some drivers leave out the number of a chip.
        titles = [title for title in titles if title not in ("Phy-ID", "Device")]
    return dict(zip(titles, words, strict=False))


def _device(first: dict[str, str], second: dict[str, str]) -> NpuDevice | None:
    npu_id, chip_id = _int(first.get("NPU")), _int(second.get("Chip"))
    if npu_id is None or chip_id is None:
        return None
    device_id = _int(second.get("Phy-ID"))
    if device_id is None:
        device_id = _int(second.get("Device"))
    hbm = _usage(second.get("HBM-Usage(MB)"))
    memory = hbm if hbm is not None and hbm[1] else _usage(second.get("Memory-Usage(MB)"))
    return NpuDevice(
        npu_id=npu_id,
        chip_id=chip_id,
        device_id=-1 if device_id is None else device_id,
        name=first.get("Name", ""),
        health=first.get("Health", ""),
        use_percent=_float(second.get("AICore(%)")),
        memory_used_bytes=None if memory is None else memory[0] * MEGABYTE,
        memory_limit_bytes=None if memory is None else memory[1] * MEGABYTE,
        power_w=_float(first.get("Power(W)")),
        temperature_c=_float(first.get("Temp(C)")),
    )


def _numbered(devices: list[NpuDevice]) -> tuple[NpuDevice, ...]:
    """Without a number from the driver: the card's, or the position if cards have several chips."""
    has_many = any(device.chip_id > 0 for device in devices)
    return tuple(
        device
        if device.device_id >= 0
        else replace(device, device_id=place if has_many else device.npu_id)
        for place, device in enumerate(devices)
    )


def _process(cells: list[str]) -> NpuProcess | None:
    """``0       1 | 692318 | python3 | 12417 |``; the name may be empty."""
    place = cells[0].split()
    pid = _int(cells[1])
    numbers = [_int(word) for word in place[:2]]
    if pid is None or not numbers or None in numbers:
        return None
    npu_id, chip_id = numbers[0] or 0, (numbers[1] if len(numbers) > 1 else 0) or 0
    return NpuProcess(npu_id, chip_id, pid, cells[2])


def _usage(text: str | None) -> tuple[int, int] | None:
    found = _USAGE.fullmatch(text or "")
    return None if found is None else (_int(found[1]) or 0, _int(found[2]) or 0)


def _int(text: str | None) -> int | None:
    """A number of up to 15 digits; the tool prints no longer ones."""
    return int(text) if text and re.fullmatch(r"\d{1,15}", text, re.ASCII) else None


def _float(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) else None
