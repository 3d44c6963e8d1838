"""Start method ``mpirun``: OpenMPI starts the ranks on the hosts of a generated hostfile.

On GPU the ranks find each other through OpenMPI itself (MindSpore's mpirun.md). On CPU MindSpore
cannot do that: there each rank's plan translates OpenMPI's rank into the dynamic cluster's
variables, and a scheduler runs beside mpirun, which works (measured, OpenMPI 4.1.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from launcher import programs
from launcher.core.plan.cluster import (
    assemble,
    cluster_environment,
    master,
    needs_scheduler,
    rank_identity,
    scheduler_process,
)
from launcher.core.plan.command import (
    node_environment,
    python_of,
    rank_process,
    rank_variables,
    run_paths,
)
from launcher.core.plan.model import Plan, PlannedFile, PlannedProcess, Role, RunContext
from launcher.core.plan.program import is_torch, torch_variables
from launcher.core.profile.model import Node, Profile
from launcher.core.profile.placement import place
from launcher.core.profile.secrets import HIDDEN
from launcher.core.tables.hostfile import make_hostfile
from launcher.errors import PlanError


def plan(profile: Profile, context: RunContext) -> Plan:
    """The hostfile, mpirun on the first node, and the ranks that mpirun starts.

    A rank's process is planned with ``is_started`` false: what mpirun starts everywhere is
    ``python -m launcher.agent.mpirun_child FOLDER``, which takes its own rank's part of the plan by
    OpenMPI's rank. So are OpenMPI's daemons, which a node's agent starts when mpirun wants one
    (``launcher.agent.mpirun_daemon``). Raises PlanError.
    """
    places = place(profile)
    world_size = len(places)
    is_cluster = needs_scheduler(profile)
    address, port = master(profile, context)
    shared = cluster_environment(profile, world_size, address, port) if is_cluster else {}
    ranks = tuple(
        replace(
            rank_process(
                profile,
                context,
                item,
                world_size,
                {**shared, **rank_identity(item, world_size)}
                if is_cluster
                else torch_variables(item, world_size, address, port)
                if is_torch(profile)
                else rank_variables(item, world_size),
            ),
            is_started=False,
        )
        for item in places
    )
    helpers = [scheduler_process(profile, context, shared)] if is_cluster else []
    helpers.append(mpirun_process(profile, context, world_size))
    helpers += [
        daemon_process(profile, context, node) for node in profile.nodes[1:] if not node.is_local
    ]
    bare = assemble(profile, context, (*helpers, *ranks), address, port)
    first = profile.nodes[0]
    path = str(run_paths(context, first).attempt(context.attempt).hostfile)
    node = "" if first.is_local else first.label
    hostfile = PlannedFile((node,), path, make_hostfile(places))
    return replace(bare, files=(*bare.files, hostfile))


def mpirun_process(profile: Profile, context: RunContext, world_size: int) -> PlannedProcess:
    """mpirun on the first node. Raises PlanError when nodes have different interpreters."""
    first = profile.nodes[0]
    python = python_of(context, first)
    if len(profile.nodes) > 1:
        roots = _comparable(str(run_paths(context, node).root) for node in profile.nodes)
        if len(roots) > 1:
            raise PlanError(
                f"mpirun's ranks need the run in the same folder on all nodes, but these differ:"
                f" {sorted(roots)}",
                "give all nodes the same `runs_directory` in the profile",
            )
        pythons = _comparable(python_of(context, node) for node in profile.nodes)
        if len(pythons) > 1:
            raise PlanError(
                f"mpirun starts the same program on all nodes, but these differ: {sorted(pythons)}",
                "give all nodes the same `python` in the profile",
            )
    attempt = run_paths(context, first).attempt(context.attempt)
    return PlannedProcess(
        role=Role.MPIRUN,
        node=first.label,
        argv=(
            profile.mpirun.program,
            *options(profile, context, world_size),
            python,
            "-m",
            programs.MPIRUN_CHILD,
            str(attempt.root),
        ),
        environment=node_environment(profile, first),
        log=str(attempt.mpirun_log),
        working_directory=first.working_directory,
        setup=first.setup,
    )


def _comparable(paths: Iterable[str]) -> set[str]:
    """Without those that only their node can expand: its facts come with the start."""
    return {path for path in paths if not path.startswith("~")}


def daemon_process(profile: Profile, context: RunContext, node: Node) -> PlannedProcess:
    """OpenMPI's daemon on a node; mpirun adds its arguments."""
    attempt = run_paths(context, node).attempt(context.attempt)
    return PlannedProcess(
        role=Role.MPIRUN_DAEMON,
        node=node.label,
        argv=(_daemon(profile),),
        environment=node_environment(profile, node),
        log=str(attempt.daemon_log(node.label)),
        working_directory=node.working_directory,
        setup=node.setup,
        is_started=False,
    )


def _daemon(profile: Profile) -> str:
    return "prted" if profile.mpirun.version == 5 else "orted"


def options(profile: Profile, context: RunContext, world_size: int) -> tuple[str, ...]:
    """mpirun's options. Ranks are filled slot by slot, so that OpenMPI's rank is the plan's.

    Raises PlanError when OpenMPI cannot take a path.
    """
    attempt = run_paths(context, profile.nodes[0]).attempt(context.attempt)
    found = ["--allow-run-as-root", "--hostfile", str(attempt.hostfile), "-n", str(world_size)]
    # Cores are bound by the launcher itself, the same under every start method.
    found += ["--map-by", "slot", "--bind-to", "none"]
    is_prte = profile.mpirun.version == 5
    prefix = "--prtemca" if is_prte else "--mca"
    base, ssh = ("prte", "plm_ssh") if is_prte else ("orte", "plm_rsh")
    # Without it gpu.rack1.lan and gpu.rack2.lan are one host, and ssh is called with "gpu".
    found += [prefix, f"{base}_keep_fqdn_hostnames", "1"]
    if context.ssh_config and any(not node.is_local for node in profile.nodes[1:]):
        python = python_of(context, profile.nodes[0])
        for path, key in ((context.ssh_config, "runs_directory"), (python, "python")):
            # A home is known where the node is asked, at the start.
            if re.search(r"[^\w@%+=:,./-]", path.removeprefix("~")):
                raise PlanError(
                    f"mpirun can't use {path!r} over ssh: OpenMPI splits the path at spaces, and"
                    " the node's shell reads it again",
                    f"set `{key}` in the profile to a path of letters, digits and -_./ only",
                )
        found += [prefix, f"{ssh}_args", f"-F {context.ssh_config}"]
        # The ssh configuration is on the first node only, so all connections begin there.
        found += [prefix, f"{ssh}_no_tree_spawn", "1"]
        # The daemons must not depend on the ssh sessions that start them.
        agent = (python, "-m", programs.MPIRUN_DAEMON, str(attempt.root), _daemon(profile))
        found += [prefix, f"{base}_launch_agent", " ".join(agent)]
    # A secret comes from the agent, which asks no daemon to pass it on.
    shown = {key for key, value in profile.environment.items() if value != HIDDEN}
    for key in sorted({"EFFNET_TOKEN", *shown}):
        found += ["-x", key]
    return (*found, *profile.mpirun.arguments)
