"""The row of mpirun's own ssh: from the first node to every other."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.core.preflight.facts import Peer
from launcher.core.preflight.row import Row, RowState
from launcher.core.profile import Profile


def daemon_of(profile: Profile) -> str:
    """What mpirun starts on other nodes; empty where mpirun's path says where it is."""
    if "/" in profile.mpirun.program:
        return ""
    return "prted" if profile.mpirun.version == 5 else "orted"


def peer_row(profile: Profile, peers: Sequence[Peer]) -> Row:
    """One row, on the first node."""
    first = profile.nodes[0]
    broken = [peer for peer in peers if peer.problem]
    lacking = [peer.node for peer in peers if peer.lacks_daemon]
    if broken:
        user = first.user or "its user"
        return Row(
            "mpi-ssh",
            first.label,
            RowState.FAILED,
            "; ".join(f"to {peer.node}: {peer.problem}" for peer in broken),
            f"On {first.label}, {user} needs a key that the others take: ssh-keygen, ssh-copy-id.",
        )
    if lacking:
        return Row(
            "mpi-ssh",
            first.label,
            RowState.FAILED,
            f"no {daemon_of(profile)} on the PATH that ssh has on {', '.join(lacking)}",
            "Put OpenMPI's bin folder on the PATH of non-interactive shells (top of ~/.bashrc), or"
            " set mpirun.program to its absolute path.",
        )
    return Row("mpi-ssh", first.label, RowState.OK, f"reaches {', '.join(p.node for p in peers)}")
