"""Cluster profiles from the arguments of a script."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.core.profile.model import Chip, DeviceTarget, Profile, StartMethod
from launcher.core.tables.finding import errors
from launcher.core.tables.rank_table import RankTable, TableServer, parse_rank_table
from launcher.core.tables.rank_table_lint import lint_text
from launcher.errors import RankTableError
from launcher.reference.arguments import Arguments

SET_ENV = "/usr/local/Ascend/ascend-toolkit/set_env.sh"
COMPILE_S = 1800.0


@dataclass(frozen=True)
class Machine:
    """This machine: its addresses, programs and variables."""

    addresses: Collection[str]
    has_mpirun: bool
    environment: Mapping[str, str]
    set_env: str = ""
    """CANN's set_env.sh, if it is installed."""


def profile_of(
    arguments: Arguments, machine: Machine, trainer: Mapping[str, Any]
) -> tuple[Profile, tuple[str, ...]]:
    """The profile and notes. Raises RankTableError where the rank table can't be used."""
    notes: tuple[str, ...] = ()
    if arguments.script.name == "run_distribute_train":
        nodes, chip, notes = _of_rank_table(arguments, machine)
    else:
        nodes, chip = [_node("127.0.0.1", arguments)], Chip.C910
    count = sum(len(node.get("devices", ())) or node.get("slots", 0) for node in nodes)
    method = _method(arguments, machine, count)
    if method is not StartMethod.MPIRUN and arguments.script.name == "run_train_gpu":
        notes = (*notes, "no mpirun here: the ranks start with MindSpore's dynamic cluster")
    is_sourced = "ASCEND_TOOLKIT_HOME" in machine.environment
    if arguments.target is DeviceTarget.ASCEND and machine.set_env and not is_sourced:
        for node in nodes:
            node["setup"] = (f"source {machine.set_env}",)
    profile = Profile.model_validate(
        {
            "name": arguments.script.name.replace("run_", "").replace("_", "-"),
            "description": f"from the arguments of scripts/{arguments.script.name}.sh",
            "device_target": arguments.target,
            "start_method": method,
            "chip": chip,
            "data_path": arguments.data_path,
            "nodes": nodes,
            "trainer": dict(trainer),
            "limits": {"compile_s": COMPILE_S},
        }
    )
    return profile, notes


def _method(arguments: Arguments, machine: Machine, count: int) -> StartMethod:
    """As in the reference: rank table on Ascend, mpirun on GPUs. A resume gets no rank table."""
    if arguments.target is DeviceTarget.ASCEND:
        has_table = arguments.script.name == "run_distribute_train"
        return StartMethod.RANKTABLE if has_table else StartMethod.CLUSTER
    wants_mpirun = arguments.script.name in ("run_train_gpu", "run_distribute_resume")
    if wants_mpirun and machine.has_mpirun and count > 1:
        return StartMethod.MPIRUN
    return StartMethod.CLUSTER


def _node(address: str, arguments: Arguments) -> dict[str, Any]:
    if arguments.target is DeviceTarget.CPU:
        return {"address": address, "slots": len(arguments.devices)}
    devices = [{"device_id": device} for device in arguments.devices]
    return {"address": address, "devices": devices}


def _of_rank_table(
    arguments: Arguments, machine: Machine
) -> tuple[list[dict[str, Any]], Chip, tuple[str, ...]]:
    try:
        text = Path(arguments.path).read_bytes()
    except OSError as error:
        raise RankTableError(f"{arguments.path} can't be read", (str(error),)) from None
    found = lint_text(text)
    if errors(found):
        hint = f"check it: effnet-launch ranktable lint {arguments.path_as_given}"
        message = f"{arguments.path_as_given} cannot be used as rank table"
        raise RankTableError(message, errors(found), hint)
    table = parse_rank_table(text)
    notes = (f"the rank table has {table.world_size} ranks on {len(table.servers)} server(s)",)
    if arguments.target is DeviceTarget.CPU:
        return [{"address": "127.0.0.1", "slots": table.world_size}], Chip.C910, notes
    alone = len(table.servers) == 1
    if arguments.target is DeviceTarget.GPU and alone:
        # Without HCCL only the devices matter; server_id need not be an address here.
        ids = [{"device_id": int(device.device_id)} for device in table.servers[0].devices]
        return [{"address": "127.0.0.1", "devices": ids}], Chip.C910, notes
    nodes = [_table_node(server, machine, alone) for server in table.servers]
    return nodes, _chip(table), notes


def _table_node(server: TableServer, machine: Machine, alone: bool) -> dict[str, Any]:
    address = server.server_id
    node: dict[str, Any] = {
        "address": address,
        "devices": [
            {
                "device_id": int(device.device_id),
                "device_ip": device.device_ip,
                "super_device_id": device.super_device_id,
            }
            for device in server.devices
        ],
    }
    if alone or address in machine.addresses:
        # HCCL compares the addresses, but does not connect to that of a single server.
        node["transport"] = "local"
    return node


def _chip(table: RankTable) -> Chip:
    has_pods = table.version == "1.2" or any(
        device.super_device_id for server in table.servers for device in server.devices
    )
    if has_pods:
        return Chip.A3
    return Chip.C910B if any(len(server.devices) > 8 for server in table.servers) else Chip.C910
