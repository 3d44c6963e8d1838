"""The question to each node of a profile."""

from __future__ import annotations

from launcher.core.checks.expected import master_index
from launcher.core.checks.facts import Question
from launcher.core.checks.joint_rules import daemon_of
from launcher.core.plan.command import node_environment
from launcher.core.profile.model import DeviceTarget, Profile, StartMethod
from launcher.core.profile.placement import place


def questions(profile: Profile, here_runs: str = "", data_path: str = "") -> tuple[Question, ...]:
    """One a node. ``here_runs`` is the runs folder of this machine, ``data_path`` overrides."""
    master = master_index(profile)
    first_rank = place(profile)[0].node_index
    mpirun = profile.start_method is StartMethod.MPIRUN
    found = []
    for index, node in enumerate(profile.nodes):
        runs = here_runs if node.is_local else node.runs_directory or here_runs
        address = profile.master.address or profile.nodes[master].address
        is_master = index == master and profile.world_size > 1
        found.append(
            Question(
                target=profile.device_target.value,
                environment=node_environment(profile, node),
                secrets=profile.secrets_of(node.label),
                setup=node.setup,
                run_folder=runs,
                # Rank 0 alone writes checkpoints.
                checkpoint_folder=profile.checkpoint.directory if index == first_rank else "",
                working_folder=node.working_directory,
                data_path=data_path or node.data_path or profile.data_path,
                weights=str(profile.trainer.get("weights", "")),
                bind_address=address.replace("localhost", "127.0.0.1") if is_master else "",
                bind_port=profile.master.port,
                reach_address="" if index == master else address,
                mpirun=profile.mpirun.program if mpirun else "",
                mpi_daemon=daemon_of(profile) if mpirun else "",
                with_devices=profile.device_target is not DeviceTarget.CPU,
            )
        )
    return tuple(found)
