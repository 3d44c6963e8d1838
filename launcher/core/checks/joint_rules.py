"""Rows that compare nodes: versions, host names, clocks, the data's classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from launcher.core.checks.facts import Data, MachineFacts, Peer
from launcher.core.checks.row import Row, RowState, checks_of
from launcher.core.profile.model import Profile

PYTHONS = ("3.10", "3.11", "3.12")
MINDSPORE = "2.10"
CLOCK_WARNING_S = 1.0
CLOCK_LIMIT_S = 60.0


def joint_rows(
    profile: Profile,
    version: str,
    machines: Mapping[str, MachineFacts],
    ahead_s: Mapping[str, float],
) -> Iterator[Row]:
    """The rows of all nodes that answered; the first of them is what others are held to.

    ``version`` is effnet-tui's here; ``ahead_s`` says how far each clock is ahead of ours.
    """
    present = [node.label for node in profile.nodes if node.label in machines]
    if not present:
        return
    first = machines[present[0]]
    hosts = Counter(machines[label].host_name for label in present)
    for index, node in enumerate(profile.nodes):
        label = node.label
        if label not in machines:
            continue
        machine, checks = machines[label], checks_of(profile, index)
        yield _python(label, machine, first, present[0])
        yield _effnet(label, machine, version)
        yield _mindspore(label, machine, first, present[0])
        if "host-name" in checks:
            yield _host_name(label, machine, hosts)
        if "clock" in checks:
            yield _clock(label, ahead_s, present[0])
        yield _data(label, machine, profile, first.data, present[0])


def _python(label: str, machine: MachineFacts, first: MachineFacts, first_label: str) -> Row:
    minor = _minor(machine.python_version)
    text = f"Python {machine.python_version}, {machine.python}"
    if minor not in PYTHONS:
        return _failed(
            "python", label, text, f"MindSpore 2.10 has wheels for {', '.join(PYTHONS)}."
        )
    if minor != _minor(first.python_version):
        return _failed(
            "python",
            label,
            f"Python {machine.python_version}, and {first.python_version} on {first_label}",
            "Name an interpreter of the same version in `python`.",
        )
    return Row("python", label, RowState.OK, text)


def _effnet(label: str, machine: MachineFacts, version: str) -> Row:
    found = machine.packages.get("effnet-tui", "")
    if not found:
        # It answers, so the code is there: a folder on PYTHONPATH, say.
        return Row(
            "effnet-tui",
            label,
            RowState.WARNING,
            "it runs, and its version is not known: it is not installed as a package",
            "pip install it into that interpreter; --fix installs this very version.",
            "wheel",
        )
    if found != version:
        return _failed(
            "effnet-tui",
            label,
            f"{found} there, {version} here",
            "--fix installs the version from here; it touches no other package.",
            "wheel",
        )
    return Row("effnet-tui", label, RowState.OK, found)


def _mindspore(label: str, machine: MachineFacts, first: MachineFacts, first_label: str) -> Row:
    found = machine.packages.get("mindspore", "")
    if not found:
        return _failed(
            "mindspore",
            label,
            f"MindSpore is not installed for {machine.python}",
            f"{machine.python} -m pip install 'effnet-tui[train]'",
        )
    if _minor(found) != MINDSPORE:
        return _failed(
            "mindspore",
            label,
            f"MindSpore {found}, and effnet wants {MINDSPORE}",
            f"{machine.python} -m pip install 'mindspore=={MINDSPORE}.*'",
        )
    expected = first.packages.get("mindspore", "")
    if expected and found != expected:
        return _failed(
            "mindspore",
            label,
            f"MindSpore {found}, and {expected} on {first_label}",
            f"{machine.python} -m pip install mindspore=={expected}",
        )
    numpy = machine.packages.get("numpy", "")
    if numpy and not numpy.startswith("1."):
        return Row(
            "mindspore",
            label,
            RowState.WARNING,
            f"MindSpore {found} with numpy {numpy}; its native code was built for numpy 1",
            f"{machine.python} -m pip install 'numpy<2'",
        )
    return Row("mindspore", label, RowState.OK, found)


def _host_name(label: str, machine: MachineFacts, hosts: Counter[str]) -> Row:
    name = machine.host_name
    if hosts[name] > 1:
        return _failed(
            "host-name",
            label,
            f"{hosts[name]} nodes call themselves {name}; MindSpore counts devices by host name",
            "hostnamectl set-hostname NAME there, a different one on each node.",
        )
    return Row("host-name", label, RowState.OK, name)


def _clock(label: str, ahead_s: Mapping[str, float], first_label: str) -> Row:
    if label not in ahead_s or first_label not in ahead_s:
        return Row("clock", label, RowState.SKIPPED, "not known")
    off_s = ahead_s[label] - ahead_s[first_label]
    text = f"{abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} {first_label}"
    hint = "Let the nodes keep time by NTP: timedatectl set-ntp true."
    if abs(off_s) > CLOCK_LIMIT_S:
        return _failed("clock", label, text, hint)
    if abs(off_s) > CLOCK_WARNING_S:
        return Row("clock", label, RowState.WARNING, text, hint)
    return Row("clock", label, RowState.OK, f"within {CLOCK_WARNING_S:g} s of {first_label}")


def _data(
    label: str, machine: MachineFacts, profile: Profile, first: Data | None, first_label: str
) -> Row:
    data = machine.data
    if data is None:
        return _failed(
            "data",
            label,
            "no data folder is named",
            "Set data_path in the profile, or give --data.",
        )
    if data.problem:
        return _failed("data", label, data.problem, _data_hint(data, profile))
    if first is not None and not first.problem and first.splits != data.splits:
        return _failed(
            "data",
            label,
            f"{data.path} has {_classes(data)}; {first_label} has {_classes(first)}"
            + (" of other names" if _classes(data) == _classes(first) else ""),
            "Labels would mean different things: copy the same folder to every node.",
        )
    wanted = profile.trainer.get("class_num")
    counts = {split.class_count for split in data.splits}
    if isinstance(wanted, int) and counts != {wanted}:
        return _failed(
            "data",
            label,
            f"{data.path} has {_classes(data)}, and class_num is {wanted}",
            f"Set class_num = {max(counts)}, or look whether it is the right folder.",
        )
    return Row("data", label, RowState.OK, f"{data.path}: {_classes(data)}")


def _classes(data: Data) -> str:
    parts = [f"{s.class_count} classes{f' in {s.name}' if s.name else ''}" for s in data.splits]
    return ", ".join(parts)


def _data_hint(data: Data, profile: Profile) -> str:
    if profile.name.startswith("local-cpu"):
        return f"python -m effnet data digits {data.path} makes a small set to try with."
    return "Copy the data there, or set data_path of the node, or give --data."


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _failed(check: str, label: str, text: str, hint: str, fix: str = "") -> Row:
    return Row(check, label, RowState.FAILED, text, hint, fix)


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
