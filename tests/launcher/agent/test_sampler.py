"""Samples of ranks: the vendors' tools are faked at the executable, with their output."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.agent import sampler
from launcher.core.devices.model import DeviceSample
from launcher.core.devices.npu_smi import MEGABYTE
from launcher.core.run.metrics import unpack_devices, unpack_loads
from launcher.core.run.paths import RankPaths

FIXTURES = Path(__file__).parents[1] / "fixtures"


def fake(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program on PATH that counts its calls in ``folder/calls``."""
    tool = folder / name
    tool.write_text(f'#!/bin/sh\necho "$*" >> "{folder}/calls"\n{script}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def npu_smi_of(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    common = FIXTURES / "npu-smi-common.txt"
    script = f'if [ $# = 1 ]; then cat "{FIXTURES}/{name}"; else cat "{common}"; fi'
    fake(folder, "npu-smi", script, monkeypatch)


@pytest.fixture
def npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """-> the folder with `calls`."""
    npu_smi_of(tmp_path, "npu-smi-A3.txt", monkeypatch)
    return tmp_path


def test_a_node_samples_once_for_all_of_its_ranks(npu_smi: Path) -> None:
    sample_of = sampler.for_target("Ascend", period_s=60.0)
    found = [sample_of(device)(os.getpid()) for device in (0, 14, 15, 3)]
    used = [item and item.used_bytes and item.used_bytes // MEGABYTE for item in found]
    assert used == [3419, 15503, 15242, None]
    assert {item.limit_bytes for item in found if item} == {65536 * MEGABYTE}
    assert (npu_smi / "calls").read_text().splitlines() == ["info", "info -t common -i 0"]


def test_an_ascend_device_has_power_temperature_use_and_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npu_smi_of(tmp_path, "npu-smi-910B.txt", monkeypatch)
    sample_of = sampler.for_target("Ascend", period_s=0.0)
    for _ in range(2):  # the clock of one card a turn
        found = sample_of(1)(os.getpid())
    assert found == DeviceSample(
        40844 * MEGABYTE, 65536 * MEGABYTE, 97.0, power_w=92.9, temperature_c=33.0, clock_mhz=800.0
    )
    assert (tmp_path / "calls").read_text().splitlines()[1::2] == [
        "info -t common -i 0",
        "info -t common -i 1",
    ]


GPUS = """\
0, 64310, 81559, 97, 612.45, 64, 1755
1, 3, 81559, 0, [N/A], 31, [Not Supported]
broken line
"""


def test_an_nvidia_device_has_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "nvidia-smi", f"cat <<'END'\n{GPUS}END", monkeypatch)
    sample_of = sampler.for_target("GPU", period_s=60.0)
    first, second, third = (sample_of(device)(os.getpid()) for device in range(3))
    assert first == DeviceSample(64310 << 20, 81559 << 20, 97.0, 612.45, 64.0, 1755.0)
    assert second == DeviceSample(3 << 20, 81559 << 20, 0.0, None, 31.0, None)
    assert third is None
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--query-gpu=index,memory.used,memory.total,utilization.gpu,power.draw,temperature.gpu,"
        "clocks.sm --format=csv,noheader,nounits"
    ]


class Steps:
    def step_times(self) -> tuple[float | None, float | None]:
        return 12.5, 3.0


def test_samples_are_written_and_read_back(npu_smi: Path, tmp_path: Path) -> None:
    paths = RankPaths(tmp_path / "rank")
    sample = sampler.for_target("Ascend", period_s=0.01)(14)
    taking = sampler.Sampler({0: paths}, lambda: {0: os.getpid()}, {0: sample}, {0: Steps()}, 0.01)
    taking.start()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        loads = unpack_loads(paths.load.read_bytes()) if paths.load.exists() else ()
        if len(loads) > 2 and loads[-1].io_wait_percent is not None:
            break
        time.sleep(0.01)
    taking.close()
    assert unpack_devices(paths.device.read_bytes())[0].used_bytes == 15503 * MEGABYTE
    assert (loads[0].power_w, loads[0].temperature_c) == (172.0, 53.0)
    assert loads[0].cpu_percent is None
    assert loads[-1].cpu_percent is not None
    assert loads[-1].io_wait_percent is not None
    assert 0 <= loads[-1].io_wait_percent <= 100
    assert (loads[-1].input_ms, loads[-1].save_ms) == (12.5, 3.0)
    assert loads[-1].blocked_percent is not None


def test_without_tools_there_are_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sampler.ask_npu_smi().devices == ()
    for target in ("Ascend", "GPU"):
        assert sampler.for_target(target, 1.0)(0)(os.getpid()) is None
    # A rank without a device, or on a CPU, reports its resident memory.
    assert sampler.for_target("CPU", 1.0)(0) is sampler.resident_memory
