"""Checks of a profile as a whole, on its raw values.

Raw, because these checks also run when single values are wrong, so that all errors are reported at
once. A value of the wrong type is skipped here: the model has reported it already.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.core.profile.address import ip_address, is_loopback
from launcher.core.profile.copies import check_copies
from launcher.core.profile.model import OPENSSH, Node
from launcher.core.profile.secrets import HIDDEN
from launcher.core.profile.spares_check import Problem as Problem
from launcher.core.profile.spares_check import check_spares
from launcher.core.text.suggest import did_you_mean

Named = tuple[str, dict[str, Any]]
"""A node and its place in the file."""

SET_BY_THE_LAUNCHER = {
    "save_checkpoint_path": "it is the run's own folder, see checkpoint.directory",
    "run_distribute": "it follows from the number of ranks",
    "device_target": "it is the profile's own key",
    "dataset_path": "use data_path",
    "resume": "use `effnet-launch resume`",
    "config": "write the keys into [trainer]",
}

MAX_CPU = 4095

SLURM_NODE = "slurm-node-"
"""With its number, the name of a node that Slurm will choose."""

SBATCH_OPTIONS = {
    "nodes": "slurm.nodes",
    "N": "slurm.nodes",
    "partition": "slurm.partition",
    "p": "slurm.partition",
    "account": "slurm.account",
    "A": "slurm.account",
    "time": "slurm.time_limit",
    "t": "slurm.time_limit",
    "signal": "slurm.signal_s",
    "ntasks-per-node": "slots in [node_defaults]",
}
"""Options of sbatch that have a key of their own."""

LOGIN_KEYS = (
    *("address", "name", "transport", "user", "port", "identity_file", "proxy_jump"),
    *("python", "runs_directory"),
)
"""Of a node, what `slurm.login_node` may have: no rank runs there."""

OWN_OPTIONS = ("output", "o", "error", "e", "chdir", "D", "requeue", "no-requeue", "job-name", "J")
"""Options of sbatch that the launcher sets."""


def check(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Every problem of a raw profile whose node defaults are already merged into its nodes."""
    nodes = [node if isinstance(node, dict) else {} for node in _list(raw.get("nodes"))]
    spares = [node if isinstance(node, dict) else {} for node in _list(raw.get("spares"))]
    target, method = raw.get("device_target"), raw.get("start_method")
    named = [(f"nodes[{index}]", node) for index, node in enumerate(nodes)]
    named += [(f"spares[{index}]", node) for index, node in enumerate(spares)]
    yield from _check_unique(named)
    for place, node in named:
        yield from _check_node(place, node, target, method)
    yield from check_spares(raw, nodes, spares)
    yield from check_copies(raw, len(nodes) + len(spares))
    yield from _check_variables("environment", raw.get("environment"))
    yield from _check_listed(raw, [*nodes, *spares])
    yield from _check_method(nodes, target, method)
    yield from _check_master(raw.get("master"), nodes)
    yield from _check_slurm(raw, nodes)
    for key in ("is_shipped", "left_out"):
        if key in raw:
            yield key, "no such key"
    if "program" in raw:
        yield from _check_program(raw, named)
    trainer = raw.get("trainer")
    for key in trainer if isinstance(trainer, dict) else ():
        if key in SET_BY_THE_LAUNCHER:
            yield f"trainer.{key}", f"set by the launcher: {SET_BY_THE_LAUNCHER[key]}"


def _check_program(raw: Mapping[str, Any], named: list[Named]) -> Iterator[Problem]:
    """What only the bundled trainer reads, and start methods that the variables do not fit."""
    instead = "not with [program]: write it into program.command"
    if raw.get("trainer"):
        yield "trainer", instead
    if raw.get("data_path"):
        yield "data_path", instead
    for place, node in named:
        if node.get("data_path"):
            yield f"{place}.data_path", instead
    if _table(raw.get("checkpoint")):
        yield "checkpoint", "not with [program]: use program.checkpoints"
    is_torch = _table(raw["program"]).get("rank_variables") == "torch"
    if is_torch and raw.get("start_method") == "ranktable":
        yield "start_method", 'cluster or mpirun: rank_variables = "torch" needs no rank table'


def _check_unique(named: list[Named]) -> Iterator[Problem]:
    for key in ("address", "name"):
        values = [node.get(key) for _, node in named]
        counts = Counter(value for value in values if isinstance(value, str) and value)
        for index, value in enumerate(values):
            if isinstance(value, str) and counts[value] > 1 and values.index(value) != index:
                yield f"{named[index][0]}.{key}", f"{value!r} is repeated; list each node once"


def _check_node(
    place: str, node: Mapping[str, Any], target: object, method: object
) -> Iterator[Problem]:
    devices = [item for item in _list(node.get("devices")) if isinstance(item, dict)]
    slots = node.get("slots")
    if isinstance(slots, int) and slots and devices and slots != len(devices):
        yield f"{place}.slots", f"{len(devices)}, one for each device, or leave it out"
    if not devices and not slots:
        yield f"{place}.slots", "the number of ranks on this node, or a list of devices"
    seen: set[Any] = set()
    for index, device in enumerate(devices):
        device_id = device.get("device_id")
        if isinstance(device_id, int):
            if device_id in seen:
                yield f"{place}.devices[{index}].device_id", f"{device_id} is repeated"
            seen.add(device_id)
        ip = device.get("device_ip")
        if isinstance(ip, str) and ip and ip_address(ip) is None:
            yield f"{place}.devices[{index}].device_ip", f"an IP address, not {ip!r}"
    if target == "Ascend" and method == "ranktable" and not devices:
        yield f"{place}.devices", "device_id (and device_ip) of each device, for the rank table"
    cpus = node.get("cpus")
    if isinstance(cpus, str):
        yield from _check_cpus(f"{place}.cpus", cpus)
    yield from _check_variables(f"{place}.environment", node.get("environment"))


def _check_variables(place: str, environment: object) -> Iterator[Problem]:
    for key, value in _table(environment).items():
        if not key or "=" in key or "\0" in key:
            yield place, f"{key!r} cannot be the name of a variable"
        if value == HIDDEN:
            yield f"{place}.{key}", f"the value itself, not {HIDDEN}, which stands for a hidden one"


def _check_listed(raw: Mapping[str, Any], nodes: list[dict[str, Any]]) -> Iterator[Problem]:
    tables = [_table(item.get("environment")) for item in (raw, *nodes)]
    known = {name for table in tables for name in table}
    for index, name in enumerate(_list(raw.get("secret_env"))):
        if isinstance(name, str) and name not in known:
            hint = did_you_mean(name, known)
            yield f"secret_env[{index}]", f"a variable of an environment, not {name!r}{hint}"


def _check_cpus(place: str, text: str) -> Iterator[Problem]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if re.fullmatch(r"[0-9]+(-[0-9]+)?", part) is None:
            continue  # the model's pattern reports it
        if len(first) > 4 or len(last) > 4 or int(last or first) > MAX_CPU:
            yield place, f"CPU numbers up to {MAX_CPU}, not {part!r}"
        elif last and int(last) < int(first):
            yield place, f"a range from low to high, not {part!r}"


def _check_method(nodes: list[dict[str, Any]], target: object, method: object) -> Iterator[Problem]:
    if method == "ranktable" and target in ("CPU", "GPU"):
        yield "start_method", f"cluster or mpirun: a rank table is for Ascend, not {target}"
    if method == "mpirun" and target == "Ascend":
        yield "start_method", "cluster or ranktable: mpirun is for GPU and CPU here"
    if len(nodes) < 2:
        return
    if method == "mpirun" and any(node.get("transport") == OPENSSH for node in nodes[1:]):
        yield "transport", "ssh: mpirun needs the host keys, which the ssh program does not hand on"
    for index, node in enumerate(nodes):
        address = node.get("address")
        is_remote = node.get("transport") in ("ssh", OPENSSH)
        if isinstance(address, str) and is_loopback(address) and not is_remote:
            yield (
                f"nodes[{index}].address",
                f"an address that the other nodes reach, not {address}"
                ' (this machine too: its address and transport = "local")',
            )


def _check_master(master: object, nodes: list[dict[str, Any]]) -> Iterator[Problem]:
    if not isinstance(master, dict):
        return
    address, port = master.get("address"), master.get("port")
    if isinstance(address, str) and address and ip_address(address) is None:
        # MindSpore retries a host name in silence until its limit.
        yield "master.address", f"an IP address, not the name {address!r}"
    elif isinstance(address, str) and len(nodes) > 1 and is_loopback(address):
        yield "master.address", f"an address that all nodes reach, not {address}"
    if isinstance(port, int) and 0 < port < 1024:
        yield "master.port", f"1024 to 65535, or 0 for a free one, not {port}"


def _check_slurm(raw: Mapping[str, Any], nodes: list[dict[str, Any]]) -> Iterator[Problem]:
    table = _table(raw.get("slurm"))
    if raw.get("start_method") != "slurm":
        if table:
            yield "slurm", 'only with start_method = "slurm"'
        return
    if not table.get("nodes"):
        yield "slurm.nodes", "the number of nodes"
    if any(not str(node.get("name", "")).startswith(SLURM_NODE) for node in nodes):
        yield "nodes", "Slurm chooses the nodes: use slurm.nodes and [node_defaults]"
    if raw.get("supervisor") == "first-node":
        yield "supervisor", "leave it out: with Slurm it is always on the first node"
    login = table.get("login_node")
    for key in _table(login):
        if key not in LOGIN_KEYS:
            where = "; of the nodes that compute it belongs in [node_defaults]"
            is_known = key in Node.model_fields
            yield f"slurm.login_node.{key}", "leave it out" + (where if is_known else "")
    address, is_local = _table(login).get("address"), _table(login).get("transport") == "local"
    if is_local or (isinstance(address, str) and is_loopback(address)):
        text = "leave it out on the login node itself; EFFNET_RUNS_DIR names its runs folder"
        yield "slurm.login_node", text
    if _table(raw.get("master")).get("address"):
        yield "master.address", "leave it out: Slurm chooses the nodes"
    for index, option in enumerate(_list(table.get("options"))):
        place, text = f"slurm.options[{index}]", str(option)
        name = text.lstrip("-").partition("=")[0].partition(" ")[0]
        if not text.startswith("-") or "\n" in text:
            yield place, f"an option of sbatch, as --gres=gpu:8, not {text!r}"
        elif name in SBATCH_OPTIONS:
            yield place, f"use {SBATCH_OPTIONS[name]} instead of {text!r}"
        elif name in OWN_OPTIONS:
            yield place, f"{text!r} is set by the launcher"


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
