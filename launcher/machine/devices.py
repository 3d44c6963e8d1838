"""This machine's devices, from their vendors' tools."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil

from launcher.core.checks.facts import Question
from launcher.core.devices import hccn, nvidia_smi
from launcher.core.devices.model import Device, Devices, Holder
from launcher.core.devices.npu_smi import NpuDevice, NpuInfo, parse_info
from launcher.core.profile.model import DeviceTarget
from launcher.machine import device_ips
from launcher.machine.environment import after_setup
from launcher.process import ownership
from launcher.process.tools import output, program
from launcher.rank import TOKEN

NPU_SMI = "npu-smi"
MINOR = "Warning"


def devices(question: Question) -> Devices:
    """All devices and their state. npu-smi takes 5 s for 8 devices."""
    environment, _ = after_setup(question)
    return of_target(question.target, environment)


def of_target(target: str, environment: Mapping[str, str]) -> Devices:
    """The same in an environment that is known already."""
    if target == DeviceTarget.ASCEND.value:
        return _with_network(_known(_ascend(environment)), environment)
    return _known(_nvidia(environment))


def _ascend(environment: Mapping[str, str]) -> Devices:
    tool = program(NPU_SMI, environment)
    if tool is None:
        return Devices(NPU_SMI, "there is no npu-smi")
    text, problem = output([tool, "info"], environment)
    return Devices(NPU_SMI, problem) if problem else of_npus(parse_info(text))


def of_npus(info: NpuInfo) -> Devices:
    """The devices of `npu-smi info`."""
    devices = tuple(
        Device(
            item.device_id,
            item.name,
            fault="" if item.health in ("OK", MINOR) else _health(item),
            warning=_health(item) if item.health == MINOR else "",
            holders=tuple(Holder(process.pid, process.name) for process in info.processes_on(item)),
        )
        for item in info.devices
    )
    problem = "" if devices else "npu-smi info lists no device"
    return Devices(NPU_SMI, problem, info.version, devices)


def _health(item: NpuDevice) -> str:
    return f"health {item.health}: {item.health_text}"


def _nvidia(environment: Mapping[str, str]) -> Devices:
    tool = program(nvidia_smi.TOOL, environment)
    if tool is None:
        return Devices(nvidia_smi.TOOL, "there is no nvidia-smi")
    gpus, problem = output([tool, *nvidia_smi.GPU_QUERY], environment)
    if problem:
        return Devices(nvidia_smi.TOOL, problem)
    processes, _ = output([tool, *nvidia_smi.PROCESS_QUERY], environment)
    return nvidia_smi.parse(gpus, processes)


def _known(found: Devices) -> Devices:
    """Adds names and users of the processes that hold devices."""
    return replace(
        found,
        devices=tuple(
            replace(device, holders=tuple(map(_holder, device.holders))) for device in found.devices
        ),
    )


def _holder(holder: Holder) -> Holder:
    token = ownership.variable_of(holder.pid, TOKEN) or ""
    try:
        process = psutil.Process(holder.pid)
        name, user = process.name(), process.username()
    except (psutil.Error, KeyError):
        name, user = os.path.basename(holder.name), ""
    return replace(
        holder, name=os.path.basename(holder.name) or name, user=user, run=ownership.run_of(token)
    )


def _with_network(found: Devices, environment: Mapping[str, str]) -> Devices:
    if not found.devices:
        return found
    conf = device_ips.in_file()
    tool = program(device_ips.TOOL, environment)
    if tool is None:
        known = tuple(replace(d, ip=conf.get(d.device_id, "")) for d in found.devices)
        return replace(found, devices=known, network_problem="there is no hccn_tool")

    def queried(device: Device) -> Device:
        def text(topic: str) -> str:
            return device_ips.tool_text(tool, device.device_id, environment, topic)

        return replace(
            device,
            link=hccn.parse_link(text("-link")) or "",
            net_health=hccn.parse_health(text("-net_health")) or "",
            ip=hccn.parse_tool_ip(text("-ip")) or conf.get(device.device_id, ""),
        )

    with ThreadPoolExecutor(device_ips.AT_ONCE) as pool:
        return replace(found, devices=tuple(pool.map(queried, found.devices)))
