"""Rows about a node's devices: there, healthy, free, and their own network."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.row import Row, RowState, checks_of
from launcher.core.devices.model import Device, Devices
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod

CHECKS = ("devices", "device-health", "device-free")


def device_rows(profile: Profile, index: int, found: Devices) -> Iterator[Row]:
    """The rows of one node's devices."""
    node = profile.nodes[index]
    if found.problem:
        yield Row("devices", node.label, RowState.FAILED, found.problem, _hint(profile))
        for check in ("device-health", "device-free", "device-network"):
            if check in checks_of(profile, index):
                yield Row(check, node.label, RowState.SKIPPED, "devices are not known")
        return
    used = [node.device(local_rank).device_id for local_rank in range(node.rank_count)]
    by_id = {device.device_id: device for device in found.devices}
    there = [by_id[device_id] for device_id in used if device_id in by_id]
    yield _present(node, used, by_id, found)
    yield _healthy(profile, node, there)
    yield _free(node, there)
    if "device-network" in checks_of(profile, index):
        yield _network(profile, node, there, found)


def _present(node: Node, used: list[int], by_id: dict[int, Device], found: Devices) -> Row:
    missing = [device_id for device_id in used if device_id not in by_id]
    names = sorted({device.name for device in found.devices if device.name})
    what = f"{len(by_id)} × {', '.join(names)}" if names else f"{len(by_id)} devices"
    if missing:
        known = _numbers(sorted(by_id)) or "none"
        return Row(
            "devices",
            node.label,
            RowState.FAILED,
            f"no device {_numbers(missing)}; {found.tool} lists {known}",
            "Set `slots` or `devices` of the node to what is there.",
        )
    return Row("devices", node.label, RowState.OK, f"{what}, driver {found.driver or 'not known'}")


def _healthy(profile: Profile, node: Node, there: list[Device]) -> Row:
    faults = [f"device {device.device_id}: {device.fault}" for device in there if device.fault]
    if faults:
        tool = (
            "npu-smi info -t health -i N"
            if profile.device_target is DeviceTarget.ASCEND
            else ("nvidia-smi -q -d ECC,ROW_REMAPPER")
        )
        return Row(
            "device-health",
            node.label,
            RowState.FAILED,
            "; ".join(faults),
            f"{tool} says more; leave the device out in `devices`, or reset it.",
        )
    warnings = [
        f"device {device.device_id}: {device.warning}" for device in there if device.warning
    ]
    if warnings:
        return Row("device-health", node.label, RowState.WARNING, "; ".join(warnings))
    return Row("device-health", node.label, RowState.OK, f"{len(there)} report no fault")


def _free(node: Node, there: list[Device]) -> Row:
    held = [
        f"device {device.device_id}: {', '.join(map(str, device.holders[:3]))}"
        + (f" and {len(device.holders) - 3} more" if len(device.holders) > 3 else "")
        for device in there
        if device.holders
    ]
    if not held:
        return Row("device-free", node.label, RowState.OK, f"nobody uses the {len(there)} devices")
    runs = sorted({holder.run for device in there for holder in device.holders if holder.run})
    hint = (
        f"effnet-launch stop {runs[0]}"
        if runs
        else "Wait for them, or choose other `devices`; `effnet-launch clean` ends strays of ours."
    )
    return Row("device-free", node.label, RowState.FAILED, "; ".join(held), hint)


def _network(profile: Profile, node: Node, there: list[Device], found: Devices) -> Row:
    if found.network_problem:
        must = len(profile.nodes) > 1
        return Row(
            "device-network",
            node.label,
            RowState.FAILED if must else RowState.WARNING,
            found.network_problem,
            "hccn_tool belongs to the Ascend driver, in /usr/local/Ascend/driver/tools.",
        )
    problems = []
    for device in there:
        place = f"device {device.device_id}"
        if device.link and device.link.upper() != "UP":
            problems.append(f"{place}: link {device.link}")
        elif device.net_health and device.net_health.lower() != "success":
            problems.append(f"{place}: net health {device.net_health}")
    wanted = {device.device_id: device.device_ip for device in node.devices if device.device_ip}
    if profile.start_method is StartMethod.RANKTABLE:
        for device in there:
            said = wanted.get(device.device_id, "")
            if said and device.ip and said != device.ip:
                problems.append(
                    f"device {device.device_id}: device_ip is {device.ip}, the profile says {said}"
                )
    if problems:
        return Row(
            "device-network",
            node.label,
            RowState.FAILED,
            "; ".join(problems),
            "hccn_tool -i N says more: -link -g, -net_health -g; -ip -g is the device_ip.",
        )
    if len(profile.nodes) > 1 and any(not device.ip for device in there):
        lacking = _numbers([device.device_id for device in there if not device.ip])
        return Row(
            "device-network",
            node.label,
            RowState.FAILED,
            f"device {lacking} has no address",
            "hccn_tool -i N -ip -s address A netmask M gives it one.",
        )
    return Row("device-network", node.label, RowState.OK, f"{len(there)} links up and healthy")


def _hint(profile: Profile) -> str:
    if profile.device_target is DeviceTarget.ASCEND:
        return "Is the Ascend driver installed, and npu-smi on the PATH? effnet-launch doctor says."
    return "Is NVIDIA's driver installed, and nvidia-smi on the PATH? effnet-launch doctor says."


def _numbers(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
