"""Names and addresses that a report for other people should not have, replaced by numbered ones."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from launcher.core.profile.address import ip_address, is_loopback
from launcher.core.profile.model import Node, Profile

_IP4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_COLONS = re.compile(r"(?<![\w:.])[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}(?![\w:])")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
_HOME = re.compile(r"/(home|Users)/[^/\s'\"<>:]+")
_PLAIN = frozenset({"", "root", "localhost", "cpu", "gpu", "rank", "node", "train", "log"})


class Mask:
    """The same name gets the same replacement everywhere in a report."""

    def __init__(self, profile: Profile | None = None) -> None:
        names: dict[str, str] = {}
        nodes = _nodes_of(profile) if profile else ()
        for number, node in enumerate(nodes, 1):
            if not is_loopback(node.address):
                names.setdefault(node.address, f"address-{number}")
            if node.name and not is_loopback(node.name):
                names.setdefault(node.name, f"node-{number}")
            if node.proxy_jump:
                names.setdefault(node.proxy_jump, f"jump-{number}")
            domain = node.address.partition(".")[2]
            if ip_address(node.address) is None and domain:
                names.setdefault(domain, "domain")
        own = [socket.gethostname(), socket.gethostname().partition(".")[0]]
        names |= dict.fromkeys(set(own) - set(names), "this-host")
        users = {node.user for node in nodes}
        names |= {user: "user" for user in users | _users() if user not in names}
        self._names = {name: new for name, new in names.items() if name.lower() not in _PLAIN}
        self._home = str(Path.home())
        self._pattern = _any_of(self._names)
        self._addresses: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        if self._home != "/":
            text = text.replace(f"{self._home}/", "~/")
        text = _HOME.sub(r"/\1/user", text)
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._names[found[0]], text)
        return _COLONS.sub(self._address, _IP4.sub(self._address, text))

    def _address(self, found: re.Match[str]) -> str:
        is_address = ip_address(found[0]) is not None or _MAC.fullmatch(found[0])
        if not is_address or is_loopback(found[0]):
            return found[0]
        return self._addresses.setdefault(found[0], f"ip-{len(self._addresses) + 1}")


def _nodes_of(profile: Profile) -> tuple[Node, ...]:
    """All that it names: also those that wait, that are out, and that only take jobs."""
    left_out, login = (item.node for item in profile.left_out), profile.slurm.login_node
    return (*profile.nodes, *profile.spares, *left_out, *([] if login is None else [login]))


def _users() -> set[str]:
    try:
        return {getpass.getuser()}
    except (KeyError, OSError):
        return {os.environ.get("USER", "")}


def _any_of(names: Iterable[str]) -> re.Pattern[str] | None:
    known = sorted(names, key=len, reverse=True)
    if not known:
        return None
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, known))})(?![\w-])")
