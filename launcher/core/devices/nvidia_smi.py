"""What ``nvidia-smi --query-…`` prints: comma-separated values without a heading.

The fields are those of ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``.
"""

from __future__ import annotations

from collections import defaultdict

from launcher.core.devices.model import Device, Devices, Holder

TOOL = "nvidia-smi"
FORMAT = "--format=csv,noheader,nounits"
GPU_QUERY = (
    "--query-gpu=index,uuid,name,driver_version,ecc.errors.uncorrected.volatile.total,compute_cap",
    FORMAT,
)
PROCESS_QUERY = ("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", FORMAT)


def parse(gpus: str, processes: str) -> Devices:
    """The GPUs of a node and who computes on them."""
    holders: dict[str, list[Holder]] = defaultdict(list)
    for cells in _rows(processes, 4):
        if cells[1].isdigit():
            memory = int(cells[3]) if cells[3].isdigit() else None
            holders[cells[0]].append(Holder(int(cells[1]), cells[2], memory_mb=memory))
    found: list[Device] = []
    driver = ""
    for cells in _rows(gpus, 5):
        if not cells[0].isdigit():
            continue
        driver = driver or cells[3]
        errors = cells[4]
        fault = f"{errors} uncorrected memory errors" if errors.isdigit() and int(errors) else ""
        found.append(
            Device(int(cells[0]), cells[2], fault, holders=tuple(holders.get(cells[1], ())))
        )
    first = next((line.strip() for line in gpus.splitlines() if line.strip()), "")
    problem = "" if found else f"nvidia-smi lists no GPU{': ' + first if first else ''}"
    return Devices(TOOL, problem, driver, tuple(found))


def compute_capabilities(gpus: str) -> dict[int, str]:
    """By GPU, as in ``9.0``; what the tool does not know is left out."""
    return {
        int(cells[0]): cells[5]
        for cells in _rows(gpus, 6)
        if cells[0].isdigit() and cells[5][:1].isdigit()
    }


def _rows(text: str, least: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [row for row in rows if len(row) >= least]
