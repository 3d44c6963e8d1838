"""Rows about one node alone: folders, disk, addresses, port, OpenMPI, its own environment."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.expected import checks_of, master_index
from launcher.core.checks.facts import Folder, MachineFacts, Question
from launcher.core.checks.row import CheckResult, Row, failed, ok, skipped, warning
from launcher.core.profile.address import ip_address, is_loopback
from launcher.core.profile.model import Node, Profile
from launcher.core.text.figures import size_bytes

LEAST_FREE_BYTES = 1 << 30
"""With less no run is started: one checkpoint of B2 with its optimizer is 124 MB."""
LOW_FREE_BYTES = 10 << 30


def machine_rows(
    profile: Profile, index: int, question: Question, machine: MachineFacts
) -> Iterator[Row]:
    """The rows of a node that need no other node."""
    node = profile.nodes[index]
    results = {
        "user": ok(f"{machine.user}, home {machine.home}"),
        "setup": _setup(node, machine),
        "address": _address(profile, node, index, machine),
        "master-port": _port(question, machine),
        "route": _route(question, machine),
        "disk": _disk(machine),
        "folders": _folders(machine),
        "openmpi": _openmpi(profile, machine),
    }
    for check in checks_of(profile, index):
        if check in results:
            yield Row(check, node.label, *results[check])


def _setup(node: Node, machine: MachineFacts) -> CheckResult:
    if machine.setup_problems:
        return failed("; ".join(machine.setup_problems), "Fix `setup` of the node.")
    return ok(f"{len(node.setup)} of {len(node.setup)} lines run")


def _address(profile: Profile, node: Node, index: int, machine: MachineFacts) -> CheckResult:
    names = {interface.name: interface for interface in machine.interfaces}
    if node.interface and node.interface not in names:
        known = ", ".join(sorted(names)) or "none"
        return failed(f"no interface {node.interface}", f"Set `interface` to one of: {known}.")
    if node.interface and not names[node.interface].is_up:
        return failed(
            f"the interface {node.interface} is down",
            f"ip link set {node.interface} up, or set another `interface`.",
        )
    many = len(profile.nodes) > 1
    is_master = index == master_index(profile)
    address = profile.master.address if is_master and profile.master.address else node.address
    if many and is_master and is_loopback(address):
        return failed(
            f"the master's address {address} is a loopback: other nodes cannot reach it",
            "Set master.address to an address that all nodes reach.",
        )
    if ip_address(address) is None or is_loopback(address):
        return ok(f"{address}{'' if many else ' (only this machine)'}")
    own = {_plain(item): interface for interface in names.values() for item in interface.addresses}
    found = own.get(_plain(address))
    if found is None:
        text = f"{address} is on none of its interfaces"
        if is_master and profile.world_size > 1:
            known = ", ".join(a for a in own if not is_loopback(a)) or "none"
            return failed(text, f"Set master.address to one of: {known}.")
        return warning(text, "Fine behind NAT, as long as ranks only connect to the master.")
    if not found.is_up:
        return failed(
            f"{address} is on {found.name}, which is down", f"ip link set {found.name} up"
        )
    return ok(f"{address} on {found.name}")


def _plain(address: str) -> str:
    """Without the zone of a link-local IPv6 address; equal addresses as equal texts."""
    ip = ip_address(address.partition("%")[0])
    return address if ip is None else str(ip)


def _port(question: Question, machine: MachineFacts) -> CheckResult:
    bind = machine.bind
    if bind is None:
        return skipped("not checked")
    where = f"{question.bind_address}:{question.bind_port}"
    if bind.is_foreign_address:
        return failed(
            f"the master address {question.bind_address} is not one of this machine's",
            "Set master.address to an address of a node.",
        )
    if bind.problem:
        return failed(
            f"{where} is used by {bind.holder}" if bind.holder else f"{where}: {bind.problem}",
            "Set master.port = 0 to choose a free port, or end the process that uses it.",
        )
    if question.bind_port == 0:
        return ok("a free one is chosen at the start")
    return ok(f"{where} is free")


def _route(question: Question, machine: MachineFacts) -> CheckResult:
    route = machine.route
    if route is None:
        return skipped("not checked")
    where = f"{question.reach_address}:{route.port}"
    if route.is_dropped:
        return failed(
            f"no answer from {where}",
            "Check the firewall between the nodes: open 20000 to 32000 (or master.port), or set"
            " master.address to another network.",
        )
    if route.problem:
        return failed(
            f"{where} cannot be reached: {route.problem}",
            "Set master.address to an address that all nodes reach, or open the firewall.",
        )
    return ok(f"reaches {where}{f', from {route.from_address}' if route.from_address else ''}")


def _disk(machine: MachineFacts) -> CheckResult:
    known = [(f.free_bytes, f.path) for f in machine.folders.values() if f.free_bytes is not None]
    if not known:
        return skipped("free space is not known")
    free, path = min(known)
    text = f"{size_bytes(free)} free at {path}"
    hint = "Free space there, or set another `runs_directory`."
    if free < LEAST_FREE_BYTES:
        return failed(text, hint)
    return warning(text, hint) if free < LOW_FREE_BYTES else ok(text)


def _folders(machine: MachineFacts) -> CheckResult:
    keys = {"run": "`runs_directory`", "checkpoint": "`checkpoint.directory`"}
    for use, folder in machine.folders.items():
        if use == "working":
            if not folder.exists:
                return failed(
                    f"the working directory {folder.path} does not exist",
                    "Create it (--fix does), or change `working_directory`.",
                    f"folder {folder.path}",
                )
        elif not folder.is_writable:
            return failed(
                f"{machine.user} cannot write the {use} folder {folder.path}",
                f"chown or chmod it there, or change {keys.get(use, use)}.",
            )
    return ok(", ".join(map(_where, machine.folders.values())))


def _where(folder: Folder) -> str:
    return folder.path if folder.exists else f"{folder.path} (will be created)"


def _openmpi(profile: Profile, machine: MachineFacts) -> CheckResult:
    program, wanted = profile.mpirun.program, profile.mpirun.version
    if not machine.openmpi:
        return failed(
            f"there is no {program}, or it does not answer",
            "Install OpenMPI there (Debian: apt install openmpi-bin), or set mpirun.program.",
        )
    if "open mpi" not in machine.openmpi.lower() and "openrte" not in machine.openmpi.lower():
        text = f"{program} is not OpenMPI: {machine.openmpi}"
        return failed(text, "Set mpirun.program to OpenMPI's.")
    version = machine.openmpi.split()[-1]
    major = version.partition(".")[0]
    if major != str(wanted):
        hint = "Install OpenMPI 4 or 5 there."
        if major in ("4", "5"):
            hint = f"Set mpirun.version = {major}, if all nodes have that."
        return failed(f"OpenMPI {version}, but the profile has {wanted}", hint)
    return ok(f"OpenMPI {version}")
