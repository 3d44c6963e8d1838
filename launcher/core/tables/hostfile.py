"""OpenMPI hostfiles: written, read strictly, and linted (docs/reference/hostfiles.md).

Source: the lexers and parsers of OpenMPI 4 (ORTE) and 5 (PRRTE). They agree in nearly all, and part
in what a host means that is there twice: 4 adds its slots up, 5 refuses a second count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher.core.profile.model import ip_address
from launcher.core.profile.placement import RankPlace
from launcher.core.tables.finding import Finding, errors
from launcher.errors import HostfileError

SLOTS_KEYS = frozenset({"slots", "slot", "cpu", "cpus", "count"})
MAX_SLOTS_KEYS = frozenset(
    f"{a}{sep}{b}"
    for sep in ("-", "_")
    for a, b in (
        ("max", "slots"),
        ("slots", "max"),
        ("max", "cpus"),
        ("cpus", "max"),
        ("cpu", "max"),
        ("max", "cpu"),
        ("max", "count"),
        ("count", "max"),
    )
)
USER_KEYS = frozenset({"username", "user-name", "user_name", "user"})
PORT_KEYS = frozenset({"port"})
VERSIONS = (4, 5)
MAX_COUNT = 1_000_000

_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f:.]+)"
)
_RELATIVE = re.compile(r"\+(n\d+|e(:\d+)?)")
_SETTING = re.compile(r'([A-Za-z][A-Za-z_-]*)\s*(\+?=)\s*("[^"]*"|[^\s=]+)')


@dataclass(frozen=True)
class HostLine:
    """One host of a hostfile; ``slots`` ``None`` is as many as the host has cores.

    ``is_excluded``: ``^host``; ``is_relative``: ``+n0`` and its like; ``line`` counts from 1.
    """

    host: str
    slots: int | None = None
    max_slots: int | None = None
    user: str = ""
    port: int | None = None
    is_excluded: bool = False
    is_relative: bool = False
    line: int = 0


def make_hostfile(places: Sequence[RankPlace]) -> str:
    """The hostfile of placed ranks, one line a node, in rank order; the same for OpenMPI 4 and 5.

    Users and ports are not in it: they are ssh's own settings, and both versions honour these.
    """
    lines = []
    for address in dict.fromkeys(place.address for place in places):
        count = sum(place.address == address for place in places)
        lines.append(f"{address} slots={count} max_slots={count}\n")
    return "".join(lines)


def parse_hostfile(text: str, version: int = 5) -> tuple[HostLine, ...]:
    """The hosts of a hostfile, as OpenMPI ``version`` reads it.

    Raises HostfileError with every line that it would refuse.
    """
    hosts, findings = _read(text)
    problems = errors((*findings, *_doubled(hosts, version)))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise HostfileError(f"OpenMPI {version} would refuse the hostfile: {count}", problems)
    return hosts


def slots_of(hosts: Sequence[HostLine]) -> dict[str, int | None]:
    """Slots by host, as OpenMPI adds them up: a host that is named n times without a count has n.

    ``None`` is as many as the host has cores: named once, without a count.
    """
    found: dict[str, int | None] = {}
    for name in dict.fromkeys(item.host for item in hosts if not item.is_excluded):
        mine = [item for item in hosts if item.host == name and not item.is_excluded]
        counts = [item.slots for item in mine if item.slots is not None]
        if counts:
            found[name] = sum(counts)
        else:
            found[name] = len(mine) if len(mine) > 1 else None
    return found


def lint_hostfile(text: str, version: int = 5, ranks: int | None = None) -> tuple[Finding, ...]:
    """Findings on a hostfile, worst first. ``ranks`` is how many shall run. Never raises."""
    hosts, findings = _read(text)
    found = [*findings, *_doubled(hosts, version), *_advice(hosts)]
    if not any(not item.is_excluded for item in hosts):
        found.append(Finding("file", "no host"))
    slots = slots_of(hosts)
    total = sum(count for count in slots.values() if count is not None)
    if ranks is not None and None not in slots.values() and hosts and total < ranks:
        found.append(Finding("file", f"{total} slots, and {ranks} ranks shall run"))
    return tuple(sorted(found, key=lambda finding: not finding.is_error))


def _read(text: str) -> tuple[tuple[HostLine, ...], list[Finding]]:
    hosts: list[HostLine] = []
    findings: list[Finding] = []
    for number, line in enumerate(_without_comments(text).split("\n"), 1):
        words = line.strip()
        if words:
            try:
                hosts.append(_host_line(words, number))
            except ValueError as error:
                findings.append(Finding(f"line {number}", str(error)))
    return tuple(hosts), findings


def _without_comments(text: str) -> str:
    """Comments blanked, line ends kept; ``#``, ``//`` to the line's end, and ``/* */``."""
    blanked = re.sub(r"/\*.*?(\*/|\Z)", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    return re.sub(r"(#|//)[^\n]*", "", blanked.replace("\r\n", "\n"))


def _host_line(words: str, number: int) -> HostLine:
    name, _, rest = words.replace("\t", " ").partition(" ")
    is_excluded = name.startswith("^")
    name = name.removeprefix("^")
    if _RELATIVE.fullmatch(name):
        if rest.strip():
            raise ValueError("nothing may follow a relative node")
        return HostLine(name, is_excluded=is_excluded, is_relative=True, line=number)
    match = _HOST.fullmatch(name)
    if match is None or (":" in match["host"] and ip_address(match["host"]) is None):
        raise ValueError(f"{name[:80]!r} is no host")
    found: dict[str, int | str] = {"user": match["user"] or ""}
    position = 0
    for setting in _SETTING.finditer(rest):
        between = rest[position : setting.start()].strip()
        if between:
            raise ValueError(f"{between[:80]!r} is no key=value")
        position = setting.end()
        _take(setting, found)
    if rest[position:].strip():
        raise ValueError(f"{rest[position:].strip()[:80]!r} is no key=value")
    slots, most = found.get("slots"), found.get("max_slots")
    if isinstance(slots, int) and isinstance(most, int) and most < slots:
        raise ValueError(f"max_slots={most} is less than slots={slots}")
    return HostLine(
        host=match["host"],
        slots=slots if isinstance(slots, int) else None,
        max_slots=most if isinstance(most, int) else None,
        user=str(found["user"]),
        port=port if isinstance(port := found.get("port"), int) else None,
        is_excluded=is_excluded,
        line=number,
    )


def _take(setting: re.Match[str], found: dict[str, int | str]) -> None:
    key, sign, value = setting[1].lower(), setting[2], setting[3].strip('"')
    if sign == "+=":
        raise ValueError(f"{setting[0]!r}: += is for --add-hostfile only")
    if key in USER_KEYS:
        found["user"] = value
        return
    for keys, name in ((SLOTS_KEYS, "slots"), (MAX_SLOTS_KEYS, "max_slots"), (PORT_KEYS, "port")):
        if key in keys:
            if not value.isascii() or not value.isdigit() or not 0 < int(value[:9]) <= MAX_COUNT:
                raise ValueError(f"{key}: a number from 1 on is needed, not {value[:80]!r}")
            if name in found:
                raise ValueError(f"{key} is there twice")
            found[name] = int(value[:9])
            return
    raise ValueError(f"{setting[1]!r} is no key; known: slots, max_slots, username, port")


def _doubled(hosts: Sequence[HostLine], version: int) -> Iterator[Finding]:
    seen: dict[str, HostLine] = {}
    for item in hosts:
        first = seen.setdefault(item.host, item)
        if first is item or item.is_excluded or item.is_relative:
            continue
        where = f"line {item.line}"
        if version >= 5 and item.slots is not None and first.slots is not None:
            text = f"{item.host} has a count already, in line {first.line}"
            yield Finding(where, text, "OpenMPI 5 refuses it; OpenMPI 4 adds them up")
        else:
            text = f"{item.host} is there already, in line {first.line}: the slots are added up"
            yield Finding(where, text, is_error=False)


def _advice(hosts: Sequence[HostLine]) -> Iterator[Finding]:
    for item in hosts:
        where = f"line {item.line}"
        if item.is_excluded or item.is_relative:
            continue
        if item.slots is None:
            text = f"{item.host} has no slots: it gets as many ranks as it has cores"
            yield Finding(where, text, is_error=False)
        ip = ip_address(item.host)
        is_own = item.host == "localhost" or (ip is not None and ip.is_loopback)
        if is_own and len({other.host for other in hosts}) > 1:
            yield Finding(where, f"{item.host} means every machine itself")
