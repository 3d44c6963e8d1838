"""From a plan to what the agents are told; choosing what a plan leaves open."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher.core.codec import to_plain
from launcher.core.hang import HangLimits
from launcher.core.make_plan import make_plan
from launcher.core.paths import RunPaths
from launcher.core.plan import NodeFacts, Plan, PlannedNode, PlannedProcess, Role, RunContext
from launcher.core.profile import Profile, ip_address
from launcher.core.start_cluster import master_node
from launcher.core.trainer_command import run_paths
from launcher.errors import BusyError
from launcher.shell import device_ips, file_lock, log_limit
from launcher.shell.channel import Message
from launcher.shell.host_keys import Ask
from launcher.shell.links import NodeLink
from launcher.shell.mpirun_files import needs_ssh_config
from launcher.shell.orders import Limits, NodeOrder, ProcessOrder, token_of, with_setup
from launcher.shell.reach import Reach, of_all, reaches_of
from launcher.shell.remote import SshTransport
from launcher.shell.runtime_folder import runtime_folder
from launcher.shell.transport import LocalTransport, Transport

PORTS = range(20000, 32000)
"""Below the range that the kernel hands out to clients, so nobody gets one by chance."""


class PortClaim:
    """A free port, kept from our other runs for as long as this object's process lives."""

    def __init__(self, address: str) -> None:
        self.port = 0
        folder = runtime_folder()
        for port in random.sample(PORTS, 200):
            self._fd = os.open(
                folder / f"port-{port}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
            )
            if file_lock.take(self._fd) and _is_free(address, port):
                self.port = port
                return
            os.close(self._fd)
        raise BusyError(f"no free port found on {address}", "Set master.port in the profile.")

    def release(self) -> None:
        (runtime_folder() / f"port-{self.port}").unlink(missing_ok=True)
        os.close(self._fd)


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True


def local_facts(profile: Profile) -> Mapping[str, NodeFacts]:
    """What this machine knows of its own nodes."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    return {
        node.label: NodeFacts(
            cpus=cpus, device_ips=device_ips.asked(device_ips.wanted(profile, node))
        )
        for node in profile.nodes
        if node.is_local
    }


def facts(
    profile: Profile, run: str, reaches: Mapping[str, Reach]
) -> tuple[Mapping[str, NodeFacts], int]:
    """(what all nodes know of themselves, the master's port; 0: to be chosen here).

    Raises `NodeError`.
    """
    address = profile.master.address or profile.nodes[0].address
    master = master_node(profile, address)

    def question(reach: Reach) -> Message:
        node = reach.node
        wants_port = node.label == master.label and profile.master.port == 0
        where = ip_of(address) if wants_port else ""
        reply = reach.ask(
            "facts",
            runs_directory=node.runs_directory,
            master=where,
            devices=device_ips.wanted(profile, node),
        )
        return reach.checked(reply)

    found = dict(local_facts(profile))
    port = profile.master.port
    for label, reply in of_all(reaches, question).items():
        runs = str(reply.get("runs_directory", "")).rstrip("/")
        found[label] = NodeFacts(
            run_directory=f"{runs}/{run}" if runs else "",
            cpus=tuple(map(int, reply.get("cpus", ()))),
            device_ips={int(d): str(ip) for d, ip in reply.get("device_ips", {}).items()},
        )
        port = port or int(reply.get("port", 0))
    return found, port


def is_plannable_here(profile: Profile) -> bool:
    """Whether a plan needs nothing that only a node reached through SSH knows."""
    return not any(device_ips.wanted(profile, n) for n in profile.nodes if not n.is_local)


def ip_of(address: str) -> str:
    """An address that can be bound; empty for a name, which no plan takes anyway."""
    return "" if ip_address(address) is None else address


def introduce(profile: Profile, ask: Ask | None = None) -> None:
    """Connects to every node once, before anything is written: an unknown host is asked about.

    Raises `NodeError`.
    """
    lock = threading.Lock()

    def one_at_a_time(question: str) -> bool:
        with lock:
            return ask is not None and ask(question)

    reaches = reaches_of(profile, None if ask is None else one_at_a_time)
    try:
        facts(profile, "", reaches)
    finally:
        for reach in reaches.values():
            reach.drop()


def plan_attempt(
    profile: Profile,
    run: str,
    root: Path,
    attempt: int,
    *,
    resume: str = "",
    data_path: str = "",
    settings: tuple[tuple[str, str], ...] = (),
    port: int = 0,
    facts: Mapping[str, NodeFacts] | None = None,
) -> Plan:
    """The plan of one attempt; `facts`: what is known of nodes. Raises `PlanError`."""
    context = RunContext(
        run=run,
        run_directory=str(root),
        attempt=attempt,
        python=sys.executable,
        resume=resume,
        data_path=data_path,
        settings=settings,
        master_port=port,
        facts=local_facts(profile) if facts is None else facts,
    )
    if needs_ssh_config(profile):
        folder = run_paths(context, profile.nodes[0]).attempt(attempt).root
        context = replace(context, ssh_config=str(folder / "ssh_config"))
    return make_plan(profile, context)


def links(plan: Plan, profile: Profile, reaches: Mapping[str, Reach]) -> tuple[NodeLink, ...]:
    """A link for each node of the plan."""
    token = token_of(plan.run, plan.attempt)
    here = Path(plan.run_directory)
    found = []
    for node in plan.nodes:
        order = order_of(plan, profile, node)
        transport: Transport
        if node.is_local:
            transport = LocalTransport(node.name, Path(node.run_directory), plan.attempt, token)
        else:
            files = tuple((f.path, f.content, f.mode) for f in plan.files if f.node == node.name)
            folder = RunPaths(here).attempt(plan.attempt).root
            transport = SshTransport(reaches[node.name], order, folder, files)
        found.append(NodeLink(transport, order))
    return tuple(found)


def order_of(plan: Plan, profile: Profile, node: PlannedNode) -> NodeOrder:
    limits = profile.limits
    return NodeOrder(
        run=plan.run,
        attempt=plan.attempt,
        node=node.name,
        token=token_of(plan.run, plan.attempt),
        root=node.run_directory,
        # Elsewhere the agent's own interpreter is the one that the profile names.
        python=sys.executable if node.is_local else "",
        device_target=plan.device_target,
        processes=tuple(process_order(process) for process in plan.on_node(node.name)),
        stop_file=str(RunPaths(Path(node.run_directory)).stop),
        limits=Limits(
            stop_save_s=limits.stop_save_s,
            term_s=limits.term_s,
            kill_s=limits.kill_s,
            spread_s=limits.spread_s,
            join_s=limits.launch_s,
            orphan_limit_s=limits.orphan_limit_s,
        ),
        hang=to_plain(HangLimits.of(limits)),
        sees_all_ranks=len(plan.nodes) == 1,
        log_limit_bytes=log_limit.bytes_of(profile),
    )


def process_order(process: PlannedProcess) -> ProcessOrder:
    is_rank = process.role is Role.RANK
    log_folder = os.path.dirname(process.log)
    return ProcessOrder(
        role=process.role.value,
        argv=with_setup(process.setup, process.argv),
        env=dict(process.environment),
        log=process.log,
        rank=process.rank if is_rank else None,
        local_rank=process.local_rank or 0,
        device=process.device_id,
        # MindSpore leaves folders wherever it runs.
        cwd=process.working_directory or log_folder,
        cpus=process.cpus,
        heartbeat=process.heartbeat or None,
        by_mpirun=not process.is_started,
    )
