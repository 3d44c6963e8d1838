"""OpenMPI hostfiles: written and linted (docs/reference/hostfiles.md).

OpenMPI 4 and 5 agree in nearly everything. A second line of a host without a count adds one slot;
both refuse a count in any line but the host's first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.core.profile.address import ip_address
from launcher.core.profile.placement import RankPlace
from launcher.core.tables.finding import Finding
from launcher.core.tables.hostfile_reader import HostLine, Reader


def make_hostfile(places: Sequence[RankPlace]) -> str:
    """The hostfile of placed ranks, one line a node, in rank order; the same for OpenMPI 4 and 5.

    Users and ports are left out: ssh's own configuration has them.
    """
    lines = []
    for address in dict.fromkeys(place.address for place in places):
        count = sum(place.address == address for place in places)
        lines.append(f"{address} slots={count} max_slots={count}\n")
    return "".join(lines)


def slots_of(hosts: Sequence[HostLine]) -> dict[str, int | None]:
    """Slots by host, as OpenMPI counts them: each further line of a host adds one.

    ``None``: as many as the host has cores (one line without a count).
    """
    found: dict[str, int | None] = {}
    for item in hosts:
        if item.is_excluded:
            continue
        if item.host not in found:
            found[item.host] = item.slots if item.slots is not None else item.max_slots
        else:
            found[item.host] = (found[item.host] or 1) + 1
    return found


def lint_hostfile(
    text: str, version: int = 5, ranks: int | None = None, keep_fqdn: bool = False
) -> tuple[Finding, ...]:
    """Findings on a hostfile, worst first. ``ranks``: the planned number. Never raises."""
    read = Reader(text, keep_fqdn).read()
    hosts = read.hosts
    found = [*read.findings, *_doubled(read), *_advice(hosts, version)]
    if not any(not item.is_excluded for item in hosts):
        found.append(Finding("file", "it names no host"))
    slots = slots_of(hosts)
    total = sum(count for count in slots.values() if count is not None)
    if ranks is not None and None not in slots.values() and hosts and total < ranks:
        found.append(Finding("file", f"{total} slots for {ranks} ranks"))
    return tuple(sorted(found, key=lambda finding: not finding.is_error))


def _doubled(read: Reader) -> Iterator[Finding]:
    for item in read.hosts:
        if item.is_excluded or item.is_relative:
            continue
        first = read.nodes[read.node_name(item.host)].first
        if first is None or first.line == item.line:
            continue
        text = f"{item.host} is already in line {first.line}: this line adds one slot"
        if first.host != item.host:
            text = f"{item.host} and {first.host} (line {first.line}) are one host to mpirun, which"
            text += " drops the domain (…_keep_fqdn_hostnames keeps it)"
        yield Finding(f"line {item.line}", text, is_error=False)


def _advice(hosts: Sequence[HostLine], version: int) -> Iterator[Finding]:
    for item in hosts:
        where = f"line {item.line}"
        if item.is_relative and version >= 5:
            text = f"{item.host}: OpenMPI 5 needs an allocation of a batch system for it"
            yield Finding(where, text, is_error=False)
        if item.is_excluded or item.is_relative:
            continue
        if item.slots is None and item.max_slots is None:
            text = f"{item.host} has no slots: it gets as many ranks as it has cores"
            yield Finding(where, text, is_error=False)
        ip = ip_address(item.host)
        is_own = item.host == "localhost" or (ip is not None and ip.is_loopback)
        if is_own and len({other.host for other in hosts}) > 1:
            yield Finding(where, f"{item.host}: on each machine this is the machine itself")
