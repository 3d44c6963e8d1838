"""The output of ``nvidia-smi --query-…``: comma-separated values without a heading.

The fields are those of ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``.
"""

from __future__ import annotations

import re
from collections import defaultdict

from launcher.core.devices.model import Device, Devices, DeviceSample, Holder
from launcher.core.text.numbers import whole_number

MIB = 1 << 20
TOOL = "nvidia-smi"
FORMAT = "--format=csv,noheader,nounits"
GPU_QUERY = (
    "--query-gpu=index,uuid,name,driver_version,ecc.errors.uncorrected.volatile.total,compute_cap",
    FORMAT,
)
SAMPLE_QUERY = (
    "--query-gpu=index,memory.used,memory.total,utilization.gpu,power.draw,temperature.gpu,clocks.sm",
    FORMAT,
)
"""Memory in MiB, percent, W, degrees Celsius, MHz; ``[N/A]`` where a GPU does not report one."""
PROCESS_QUERY = ("--query-compute-apps=gpu_uuid,pid,process_name", FORMAT)


def parse_samples(text: str) -> dict[int, DeviceSample]:
    """The answer to ``SAMPLE_QUERY``, by index; other lines are left out."""
    found = {}
    for row in _rows(text, 7):
        index = whole_number(row[0])
        if index is not None:
            used, limit, *rest = map(_number, row[1:7])
            sizes = (None if mib is None else int(mib * MIB) for mib in (used, limit))
            found[index] = DeviceSample(*sizes, *rest)
    return found


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) else None


def parse(gpus: str, processes: str) -> Devices:
    """The GPUs of a node and the processes on them."""
    holders: dict[str, list[Holder]] = defaultdict(list)
    for cells in _rows(processes, 3):
        pid = whole_number(cells[1])
        if pid is not None:
            holders[cells[0]].append(Holder(pid, cells[2]))
    found: list[Device] = []
    driver = ""
    for cells in _rows(gpus, 5):
        index = whole_number(cells[0])
        if index is None:
            continue
        driver = driver or cells[3]
        errors = cells[4]
        fault = f"{errors} uncorrected memory errors" if whole_number(errors) else ""
        found.append(
            Device(
                index,
                cells[2],
                fault,
                holders=tuple(holders.get(cells[1], ())),
                compute_capability=cells[5] if len(cells) > 5 else "",
            )
        )
    first = next((line.strip() for line in gpus.splitlines() if line.strip()), "")
    problem = "" if found else f"nvidia-smi lists no GPU{': ' + first if first else ''}"
    return Devices(TOOL, problem, driver, tuple(found))


def _rows(text: str, least: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [row for row in rows if len(row) >= least]
