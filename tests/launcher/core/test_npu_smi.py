"""npu-smi: what drivers of 910 (Atlas 800-9000), 910B (Atlas A2) and Atlas A3 print."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.devices.npu_smi import MEGABYTE, parse_info

FIXTURES = Path(__file__).parents[1] / "fixtures"


def info(name: str) -> str:
    return (FIXTURES / f"npu-smi-{name}.txt").read_text()


def test_a_server_of_the_first_generation() -> None:
    found = parse_info(info("910"))
    assert found.version == "24.1.0"
    first, second = found.devices
    assert (first.npu_id, first.chip_id, first.device_id) == (0, 0, 0)
    assert (first.name, first.health) == ("910B", "OK")
    assert first.use_percent == 0.0
    # The device's own memory, and not what its control processor has.
    assert first.memory_used_bytes == 1365 * MEGABYTE
    assert first.memory_limit_bytes == 32768 * MEGABYTE
    assert second.health == "Warning"
    assert "minor alarm" in second.health_text
    assert second.memory_used_bytes == 31842 * MEGABYTE
    assert found.processes_on(first) == ()
    (process,) = found.processes_on(second)
    assert (process.pid, process.name) == (1333928, "")


def test_a_server_of_atlas_a2() -> None:
    found = parse_info(info("910B"))
    assert [device.name for device in found.devices] == ["910B3", "910B3"]
    assert [device.use_percent for device in found.devices] == [0.0, 97.0]
    assert [device.memory_used_bytes for device in found.devices] == [
        41697 * MEGABYTE,
        40844 * MEGABYTE,
    ]
    assert [process.pid for process in found.processes_on(found.devices[0])] == [1654497, 1654499]


def test_a_server_of_atlas_a3_has_two_chips_a_card() -> None:
    found = parse_info(info("A3"))
    assert [device.device_id for device in found.devices] == [0, 1, 14, 15]
    assert {device.name for device in found.devices} == {"Ascend910"}
    worn = found.device(14)
    assert worn is not None
    assert (worn.npu_id, worn.chip_id, worn.health) == (7, 0, "Critical")
    assert "do not train" in worn.health_text
    assert worn.memory_used_bytes == 15503 * MEGABYTE
    assert [process.name for process in found.processes_on(worn)] == ["python3"]
    assert found.device(3) is None


def test_cards_keep_their_numbers_when_some_are_missing() -> None:
    text = info("910B").replace("| 0     910B3", "| 12    910B3")
    assert [device.device_id for device in parse_info(text).devices] == [12, 1]


def test_an_inference_card_has_no_hbm_column() -> None:
    text = """\
| npu-smi 22.0.0                       Version:22.0.2                                        |
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 16.2         42                0    / 0              |
| 0       0         | 0000:86:00.0    | 0            994  / 21534                            |
"""
    (device,) = parse_info(text).devices
    assert (device.name, device.device_id) == ("310P3", 0)
    assert device.memory_limit_bytes == 21534 * MEGABYTE


def test_no_driver_means_no_devices() -> None:
    for text in ("", "dcmi module initialize failed. ret is -8005", "bash: npu-smi: not found"):
        assert parse_info(text).devices == ()


@given(st.text(), st.sampled_from(["910", "910B", "A3"]), st.integers(0, 2000))
def test_texts_of_any_kind_never_raise(text: str, name: str, place: int) -> None:
    parse_info(text)
    whole = info(name)
    parse_info(whole[:place] + text + whole[place:])
    parse_info("\n".join(f"|{line}|" for line in text.splitlines()))
