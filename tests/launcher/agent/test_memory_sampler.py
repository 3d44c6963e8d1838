"""Device memory of Ascend ranks: npu-smi is faked at the executable, with the vendor's output."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.agent import memory_sampler
from launcher.core.devices.npu_smi import MEGABYTE
from launcher.core.run.metrics import unpack_devices

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake that counts its calls. -> the folder with `calls`."""
    tool = tmp_path / "npu-smi"
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = info ] || exit 1\necho >> "{tmp_path}/calls"\n'
        f'cat "{FIXTURES}/npu-smi-A3.txt"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def test_a_node_samples_once_for_all_of_its_ranks(npu_smi: Path) -> None:
    sample_of = memory_sampler.for_target("Ascend", period_s=60.0)
    found = [sample_of(device)(os.getpid()) for device in (0, 14, 15, 3)]
    assert [item and item.used_bytes // MEGABYTE for item in found] == [3419, 15503, 15242, None]
    assert {item.limit_bytes for item in found if item} == {65536 * MEGABYTE}
    assert (npu_smi / "calls").read_text().count("\n") == 1


def test_samples_of_a_device_are_written_and_read_back(npu_smi: Path, tmp_path: Path) -> None:
    file = tmp_path / "device.bin"
    sample = memory_sampler.for_target("Ascend", period_s=0.01)(14)
    taking = memory_sampler.Sampler({0: file}, lambda: {0: os.getpid()}, {0: sample}, 0.01)
    taking.start()
    deadline = time.monotonic() + 20
    while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    taking.close()
    records = unpack_devices(file.read_bytes())
    assert records
    assert records[0].used_bytes == 15503 * MEGABYTE


def test_without_npu_smi_there_are_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory_sampler.ask_npu_smi().devices == ()
    assert memory_sampler.for_target("Ascend", 1.0)(0)(os.getpid()) is None
    # A rank without a device, or on a CPU, reports its resident memory.
    assert memory_sampler.for_target("CPU", 1.0)(0) is memory_sampler.resident_memory
