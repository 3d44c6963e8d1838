"""Addresses of nodes, and lists of their cores."""

from __future__ import annotations

import functools
import ipaddress


def is_loopback(address: str) -> bool:
    """Whether an address can only mean the machine it is used on."""
    if address == "localhost":
        return True
    ip = ip_address(address)
    return ip is not None and ip.is_loopback


@functools.lru_cache(maxsize=4096)
def ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address, or ``None`` when the text is none (a host name, say)."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_cpus(text: str) -> tuple[int, ...]:
    """``0-3,8`` → 0, 1, 2, 3, 8: sorted, each once. The text is a checked profile's."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))
