"""Rows that compare nodes: versions, host names, clocks, the data's classes, mpirun's SSH."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from launcher.core.checks.expected import checks_of
from launcher.core.checks.facts import Data, MachineFacts, Peer, Weights
from launcher.core.checks.row import (
    NOT_THE_TRAINER,
    CheckResult,
    Row,
    failed,
    mindspore_problem,
    ok,
    skipped,
    warning,
)
from launcher.core.plan.cluster import needs_scheduler
from launcher.core.profile.model import Profile
from launcher.core.text.figures import plural

PYTHONS = ("3.10", "3.11", "3.12")
CLOCK_WARNING_S = 1.0
CLOCK_LIMIT_S = 60.0


def joint_rows(
    profile: Profile,
    version: str,
    machines: Mapping[str, MachineFacts],
    ahead_s: Mapping[str, float],
) -> Iterator[Row]:
    """The rows of all nodes that answered; others are compared with the first of them.

    ``version`` is effnet-tui's here; ``ahead_s``: how far each clock is ahead of ours.
    """
    present = [node.label for node in profile.nodes if node.label in machines]
    if not present:
        return
    label = present[0]
    first = machines[label]
    hosts = Counter(machines[name].host_name for name in present)
    for index, node in enumerate(profile.nodes):
        if node.label not in machines:
            continue
        machine = machines[node.label]
        results = {
            "python": _python(machine, first, label),
            "effnet-tui": _effnet(machine, version),
            "mindspore": _mindspore(machine, first, label, profile),
            "host-name": _host_name(machine, hosts),
            "clock": _clock(ahead_s.get(node.label), ahead_s.get(label), label),
            "data": _data(machine.data, profile, first.data, label),
            "weights": _weights(machine.weights, profile, first.weights, label),
        }
        for check in checks_of(profile, index):
            if check in results:
                yield Row(check, node.label, *results[check])


def _python(machine: MachineFacts, first: MachineFacts, first_label: str) -> CheckResult:
    minor = _minor(machine.python_version)
    text = f"Python {machine.python_version}, {machine.python}"
    if minor not in PYTHONS:
        known = ", ".join(PYTHONS)
        return failed(text, f"Set `python` to one of {known}: MindSpore 2.10 has wheels for these.")
    if minor != _minor(first.python_version):
        return failed(
            f"Python {machine.python_version}, but {first.python_version} on {first_label}",
            "Set `python` to an interpreter of the same version.",
        )
    return ok(text)


def _effnet(machine: MachineFacts, version: str) -> CheckResult:
    found = machine.packages.get("effnet-tui", "")
    fix = "wheel"
    if not found:
        # The node answers, so it has the code: from a folder on PYTHONPATH, for example.
        text = "it runs, but is not installed as a package: its version is not known"
        return warning(text, "Use --fix: it installs the version from here.", fix)
    if found != version:
        text = f"{found} there, {version} here"
        hint = "Use --fix: it installs the version from here and changes no other package."
        return failed(text, hint, fix)
    return ok(found)


def _mindspore(
    machine: MachineFacts, first: MachineFacts, first_label: str, profile: Profile
) -> CheckResult:
    found = machine.packages.get("mindspore", "")
    if profile.program is not None and not needs_scheduler(profile):
        return skipped(NOT_THE_TRAINER)
    if problem := mindspore_problem(found, machine.python):
        return problem
    expected = first.packages.get("mindspore", "")
    if expected and found != expected:
        return failed(
            f"MindSpore {found}, but {expected} on {first_label}",
            f"{machine.python} -m pip install mindspore=={expected}",
        )
    numpy = machine.packages.get("numpy", "")
    if numpy and not numpy.startswith("1."):
        return warning(
            f"MindSpore {found} with numpy {numpy}; its native code was built for numpy 1",
            f"{machine.python} -m pip install 'numpy<2'",
        )
    return ok(found)


def _host_name(machine: MachineFacts, hosts: Counter[str]) -> CheckResult:
    name = machine.host_name
    if hosts[name] > 1:
        return failed(
            f"{hosts[name]} nodes have the host name {name}; MindSpore counts devices by host name",
            "hostnamectl set-hostname NAME there, a different one on each node.",
        )
    return ok(name)


def _clock(own_s: float | None, first_s: float | None, first_label: str) -> CheckResult:
    if own_s is None or first_s is None:
        return skipped("not known")
    off_s = own_s - first_s
    text = f"{abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} {first_label}"
    hint = "Synchronize the clocks with NTP: timedatectl set-ntp true."
    if abs(off_s) > CLOCK_LIMIT_S:
        return failed(text, hint)
    if abs(off_s) > CLOCK_WARNING_S:
        return warning(text, hint)
    return ok(f"within {CLOCK_WARNING_S:g} s of {first_label}")


def _data(data: Data | None, profile: Profile, first: Data | None, first_label: str) -> CheckResult:
    if profile.program is not None:
        return skipped(NOT_THE_TRAINER)
    if data is None:
        return failed("no data folder is set", "Set data_path in the profile, or use --data.")
    if data.problem:
        return failed(data.problem, _data_hint(data, profile))
    if first is not None and not first.problem and first.splits != data.splits:
        return failed(
            f"{data.path} has {_classes(data)}; {first_label} has {_classes(first)}"
            + (" with other names" if _classes(data) == _classes(first) else ""),
            "Copy the same folder to every node: labels would mean different things.",
        )
    wanted = profile.trainer.get("class_num")
    counts = {split.class_count for split in data.splits}
    if isinstance(wanted, int) and counts != {wanted}:
        return failed(
            f"{data.path} has {_classes(data)}, but class_num is {wanted}",
            f"Set class_num = {max(counts)}, or check that it is the right folder.",
        )
    return ok(f"{data.path}: {_classes(data)}")


def _weights(
    found: Weights | None, profile: Profile, first: Weights | None, first_label: str
) -> CheckResult:
    if found is None:
        return skipped("not checked")
    if found.problem:
        hint = "Copy the checkpoint and its .manifest.json there, or change `weights`."
        return failed(found.problem, hint)
    wanted = profile.trainer.get("variant", "b2")
    if found.variant != wanted:
        text = f"{found.path} is of variant {found.variant}, this run has {wanted}"
        return failed(text, f"Set variant = {found.variant}, or change `weights`.")
    if first is not None and not first.problem and first.sha256 != found.sha256:
        text = f"{found.path} is another checkpoint than on {first_label}"
        return failed(text, "Copy the same file to every node.")
    return ok(f"{found.path}: {found.variant}, {plural(found.class_count, 'class')}")


def _classes(data: Data) -> str:
    parts = [
        plural(s.class_count, "class") + (f" in {s.name}" if s.name else "") for s in data.splits
    ]
    return ", ".join(parts)


def _data_hint(data: Data, profile: Profile) -> str:
    if profile.name.startswith("local-cpu"):
        return f"Create a small data set: python -m effnet data digits {data.path}"
    return "Copy the data there, set data_path of the node, or use --data."


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def daemon_of(profile: Profile) -> str:
    """The program that mpirun starts on other nodes; empty if mpirun's path has its folder."""
    if "/" in profile.mpirun.program:
        return ""
    return "prted" if profile.mpirun.version == 5 else "orted"


def peer_row(profile: Profile, peers: Sequence[Peer]) -> Row:
    """One row, on the first node."""
    first = profile.nodes[0]
    return Row("mpi-ssh", first.label, *_peers(profile, peers))


def _peers(profile: Profile, peers: Sequence[Peer]) -> CheckResult:
    first = profile.nodes[0]
    if broken := [f"to {peer.node}: {peer.problem}" for peer in peers if peer.problem]:
        user = first.user or "its user"
        return failed(
            "; ".join(broken),
            f"Give {user} on {first.label} a key for the others: ssh-keygen, ssh-copy-id.",
        )
    if lacking := [peer.node for peer in peers if peer.lacks_daemon]:
        return failed(
            f"{daemon_of(profile)} is not on the PATH of ssh on {', '.join(lacking)}",
            "Put OpenMPI's bin folder on the PATH of non-interactive shells (top of ~/.bashrc), or"
            " set mpirun.program to its absolute path.",
        )
    return ok(f"reaches {', '.join(peer.node for peer in peers)}")
