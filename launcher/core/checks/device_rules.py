"""Rows about a node's devices: present, healthy, free, and their own network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from launcher.core.checks.expected import checks_of
from launcher.core.checks.row import CheckResult, Row, failed, ok, skipped, warning
from launcher.core.devices.model import Device, Devices
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod
from launcher.core.text.figures import plural

NONE = "none of the devices is there"


def device_rows(profile: Profile, index: int, found: Devices) -> Iterator[Row]:
    """The rows of one node's devices."""
    node = profile.nodes[index]
    by_id = {device.device_id: device for device in found.devices}
    used = [node.device(local_rank).device_id for local_rank in range(node.rank_count)]
    there = [by_id[device_id] for device_id in used if device_id in by_id]
    unknown = skipped("devices are not known") if found.problem else None
    results = {
        "devices": _present(profile, used, by_id, found),
        "device-health": unknown or _healthy(profile, there),
        "device-free": unknown or _free(there),
        "device-network": unknown or _network(profile, node, there, found),
    }
    for check in checks_of(profile, index):
        if check in results:
            yield Row(check, node.label, *results[check])


def _present(
    profile: Profile, used: list[int], by_id: dict[int, Device], found: Devices
) -> CheckResult:
    if found.problem:
        is_ascend = profile.device_target is DeviceTarget.ASCEND
        driver = "the Ascend driver" if is_ascend else "NVIDIA's driver"
        hint = f"Install {driver} and put {found.tool} on the PATH; see effnet-launch doctor."
        return failed(found.problem, hint)
    if missing := [device_id for device_id in used if device_id not in by_id]:
        known = _numbers(sorted(by_id)) or "none"
        return failed(
            f"no device {_numbers(missing)}; {found.tool} lists {known}",
            "Set `slots` or `devices` of the node to existing devices.",
        )
    names = sorted({device.name for device in found.devices if device.name})
    what = f"{len(by_id)} × {', '.join(names)}" if names else plural(len(by_id), "device")
    return ok(f"{what}, driver {found.driver or 'not known'}")


def _healthy(profile: Profile, there: list[Device]) -> CheckResult:
    if faults := [f"device {item.device_id}: {item.fault}" for item in there if item.fault]:
        is_ascend = profile.device_target is DeviceTarget.ASCEND
        tool = "npu-smi info -t health -i N" if is_ascend else "nvidia-smi -q -d ECC,ROW_REMAPPER"
        return failed("; ".join(faults), f"See {tool}; leave it out of `devices`, or reset it.")
    if warnings := [f"device {item.device_id}: {item.warning}" for item in there if item.warning]:
        return warning("; ".join(warnings))
    return ok(f"{plural(len(there), 'device')} without a fault") if there else skipped(NONE)


def _free(there: list[Device]) -> CheckResult:
    held = [
        f"device {device.device_id}: {', '.join(map(str, device.holders[:3]))}"
        + (f" and {len(device.holders) - 3} more" if len(device.holders) > 3 else "")
        for device in there
        if device.holders
    ]
    if not held:
        return ok(f"{plural(len(there), 'device')} free") if there else skipped(NONE)
    runs = sorted({holder.run for device in there for holder in device.holders if holder.run})
    hint = "Wait for them, set other `devices`, or end leftovers with `effnet-launch clean`."
    return failed("; ".join(held), f"effnet-launch stop {runs[0]}" if runs else hint)


def _network(profile: Profile, node: Node, there: list[Device], found: Devices) -> CheckResult:
    many = len(profile.nodes) > 1
    if found.network_problem:
        hint = "Check the Ascend driver: hccn_tool is in /usr/local/Ascend/driver/tools."
        problem = found.network_problem
        return failed(problem, hint) if many else warning(problem, hint)
    problems = []
    for device in there:
        place = f"device {device.device_id}"
        if device.link and device.link.upper() != "UP":
            problems.append(f"{place}: link {device.link}")
        elif device.net_health and device.net_health.lower() != "success":
            problems.append(f"{place}: net health {device.net_health}")
    if profile.start_method is StartMethod.RANKTABLE:
        expected = {device.device_id: device.device_ip for device in node.devices}
        problems += [
            f"device {item.device_id}: device_ip is {item.ip}, but {wanted} in the profile"
            for item in there
            if (wanted := expected.get(item.device_id)) and item.ip and wanted != item.ip
        ]
    if problems:
        return failed(
            "; ".join(problems),
            "See hccn_tool -i N: -link -g, -net_health -g; -ip -g prints the device_ip.",
        )
    if many and (lacking := [device.device_id for device in there if not device.ip]):
        return failed(
            f"device {_numbers(lacking)} has no address",
            "Set one: hccn_tool -i N -ip -s address A netmask M.",
        )
    return ok(f"{len(there)} links up and healthy")


def _numbers(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))
