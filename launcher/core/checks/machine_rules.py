"""Rows about one node alone: folders, disk, addresses, port, OpenMPI, its own environment."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.facts import Folder, MachineFacts, Question
from launcher.core.checks.row import Row, RowState, checks_of, master_index
from launcher.core.profile.model import Node, Profile, ip_address, is_loopback

LEAST_FREE_BYTES = 1 << 30
"""Below this no run is started: one checkpoint of B2 with its optimizer is 124 MB."""
LOW_FREE_BYTES = 10 << 30


def machine_rows(
    profile: Profile, index: int, question: Question, machine: MachineFacts
) -> Iterator[Row]:
    """The rows of a node that need no other node, in no order."""
    node = profile.nodes[index]
    checks = checks_of(profile, index)
    if "user" in checks:
        yield _ok(node, "user", f"{machine.user}, home {machine.home}")
    if "setup" in checks:
        yield _setup(node, machine)
    yield _address(profile, node, index, machine)
    if "master-port" in checks:
        yield _port(node, question, machine)
    if "route" in checks:
        yield _route(node, question, machine)
    yield _disk(node, machine)
    yield _folders(node, machine)
    if "openmpi" in checks:
        yield _openmpi(profile, node, machine)


def _setup(node: Node, machine: MachineFacts) -> Row:
    if machine.setup_problems:
        return _failed(node, "setup", "; ".join(machine.setup_problems), "Fix `setup` of the node.")
    return _ok(node, "setup", f"{len(node.setup)} of {len(node.setup)} lines run")


def _address(profile: Profile, node: Node, index: int, machine: MachineFacts) -> Row:
    own = {
        _plain(address): interface
        for interface in machine.interfaces
        for address in interface.addresses
    }
    names = {interface.name: interface for interface in machine.interfaces}
    if node.interface and node.interface not in names:
        known = ", ".join(sorted(names)) or "none"
        return _failed(
            node, "address", f"no interface {node.interface}", f"Set `interface`; there: {known}."
        )
    if node.interface and not names[node.interface].is_up:
        return _failed(
            node,
            "address",
            f"the interface {node.interface} is down",
            f"ip link set {node.interface} up, or set another `interface`.",
        )
    many = len(profile.nodes) > 1
    is_master = index == master_index(profile)
    address = profile.master.address if is_master and profile.master.address else node.address
    if many and is_master and is_loopback(address):
        return _failed(
            node,
            "address",
            f"the master's address {address} is a loopback: no other node reaches it",
            "Set master.address to an address that all nodes reach.",
        )
    ip = ip_address(address)
    if ip is None or is_loopback(address):
        return _ok(node, "address", f"{address}{'' if many else ' (this machine alone)'}")
    found = own.get(_plain(address))
    if found is None:
        text = f"{address} is on none of its interfaces"
        if is_master and profile.world_size > 1:
            known = ", ".join(a for a in own if not is_loopback(a)) or "none"
            return _failed(node, "address", text, f"Set master.address; there: {known}.")
        return Row(
            "address",
            node.label,
            RowState.WARNING,
            text,
            "Fine behind a translated address (NAT), as long as ranks only call the master.",
        )
    if not found.is_up:
        return _failed(
            node,
            "address",
            f"{address} is on {found.name}, which is down",
            f"ip link set {found.name} up",
        )
    return _ok(node, "address", f"{address} on {found.name}")


def _plain(address: str) -> str:
    """Without the zone of a link-local IPv6 address; equal addresses as equal texts."""
    ip = ip_address(address.partition("%")[0])
    return address if ip is None else str(ip)


def _port(node: Node, question: Question, machine: MachineFacts) -> Row:
    bind = machine.bind
    if bind is None:
        return Row("master-port", node.label, RowState.SKIPPED, "it was not asked")
    where = f"{question.bind_address}:{question.bind_port}"
    if bind.is_foreign_address:
        return _failed(
            node,
            "master-port",
            f"the master address {question.bind_address} is not one of this machine's",
            "Set master.address to an address of a node.",
        )
    if bind.problem:
        held = f" by {bind.holder}" if bind.holder else ""
        return _failed(
            node,
            "master-port",
            f"{where} is taken{held}" if bind.holder else f"{where}: {bind.problem}",
            "Set master.port = 0 for a free one, or end what has it.",
        )
    if question.bind_port == 0:
        return _ok(node, "master-port", "a free one is taken at the start")
    return _ok(node, "master-port", f"{where} is free")


def _route(node: Node, question: Question, machine: MachineFacts) -> Row:
    route, address = machine.route, question.reach_address
    if route is None:
        return Row("route", node.label, RowState.SKIPPED, "it was not tried")
    where = f"{address}:{route.port}"
    if route.is_dropped:
        return _failed(
            node,
            "route",
            f"nothing comes back from {where}",
            "A firewall between drops it: open 20000 to 32000 (or master.port) between the nodes,"
            " or set master.address to another network.",
        )
    if route.problem:
        return _failed(
            node,
            "route",
            f"{where} cannot be reached: {route.problem}",
            "Set master.address to an address that all nodes reach, or open the firewall.",
        )
    own = f", from {route.from_address}" if route.from_address else ""
    return _ok(node, "route", f"reaches {where}{own}")


def _disk(node: Node, machine: MachineFacts) -> Row:
    known = [folder for folder in machine.folders.values() if folder.free_bytes is not None]
    if not known:
        return Row("disk", node.label, RowState.SKIPPED, "free space is not known")
    least = min(known, key=lambda folder: folder.free_bytes or 0)
    free = least.free_bytes or 0
    text = f"{free / 1e9:.3g} GB free at {least.path}"
    hint = "Make room there, or choose another `runs_directory`."
    if free < LEAST_FREE_BYTES:
        return _failed(node, "disk", text, hint)
    if free < LOW_FREE_BYTES:
        return Row("disk", node.label, RowState.WARNING, text, hint)
    return _ok(node, "disk", text)


def _folders(node: Node, machine: MachineFacts) -> Row:
    keys = {
        "run": "`runs_directory`",
        "checkpoint": "`checkpoint.directory`",
        "working": "`working_directory`",
    }
    for use, folder in machine.folders.items():
        if use == "working":
            if not folder.exists:
                return _failed(
                    node,
                    "folders",
                    f"the working directory {folder.path} is not there",
                    f"Make it (--fix does), or change {keys[use]}.",
                    f"folder {folder.path}",
                )
        elif not folder.is_writable:
            return _failed(
                node,
                "folders",
                f"the {use} folder {folder.path} cannot be written by {machine.user}",
                f"chown or chmod it there, or change {keys.get(use, use)}.",
            )
    return _ok(node, "folders", ", ".join(_where(f) for f in machine.folders.values()))


def _where(folder: Folder) -> str:
    return folder.path if folder.exists else f"{folder.path} (to be made)"


def _openmpi(profile: Profile, node: Node, machine: MachineFacts) -> Row:
    program, wanted = profile.mpirun.program, profile.mpirun.version
    if not machine.openmpi:
        return _failed(
            node,
            "openmpi",
            f"there is no {program}, or it does not answer",
            "Install OpenMPI there (Debian: apt install openmpi-bin), or set mpirun.program.",
        )
    if "open mpi" not in machine.openmpi.lower() and "openrte" not in machine.openmpi.lower():
        return _failed(
            node,
            "openmpi",
            f"{program} is no OpenMPI: {machine.openmpi}",
            "Set mpirun.program to OpenMPI's.",
        )
    version = machine.openmpi.split()[-1]
    major = version.partition(".")[0]
    if major != str(wanted):
        return _failed(
            node,
            "openmpi",
            f"OpenMPI {version}, and the profile says {wanted}",
            f"Set mpirun.version = {major}, if all nodes have that."
            if major in ("4", "5")
            else "Install OpenMPI 4 or 5 there.",
        )
    return _ok(node, "openmpi", f"OpenMPI {version}")


def _ok(node: Node, check: str, text: str) -> Row:
    return Row(check, node.label, RowState.OK, text)


def _failed(node: Node, check: str, text: str, hint: str, fix: str = "") -> Row:
    return Row(check, node.label, RowState.FAILED, text, hint, fix)
