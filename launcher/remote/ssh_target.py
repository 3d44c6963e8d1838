"""The address and keys for a node's sshd: from the profile, then from ssh's configuration."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from launcher.errors import NodeError
from launcher.remote import ssh_config

MAX_CONNECTING = 32
"""Connections that are being set up at a time: sshd drops more (MaxStartups)."""


@dataclass(frozen=True)
class Target:
    """Where a node's sshd is, after ~/.ssh/config."""

    node: str
    host: str
    port: int
    user: str
    address: str
    """As the profile has it: ssh finds its configuration under this name."""
    keys: tuple[str, ...] = ()
    only_these_keys: bool = False
    jumps: tuple[str, ...] = ()
    agent: str = ""
    """IdentityAgent: a socket, `none`, or empty for the usual one."""
    key_name: str = ""
    """HostKeyAlias: the name in known_hosts instead of the address."""
    known_hosts: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def resolve(
    label: str,
    address: str,
    user: str,
    port: int,
    keys: tuple[str, ...],
    jump: str,
    read_config: Callable[[str], ssh_config.Settings],
) -> Target:
    """Where a host's sshd is and how to log in; arguments override ssh's configuration.

    `read_config` reads it where no ssh program is. Raises `NodeError`.
    """
    try:
        config = ssh_config.ask_ssh(address)
        if config is None:
            config = read_config(address)
        jump = jump or _first(config, "proxyjump")
        host = _first(config, "hostname") or address
        user = user or _first(config, "user") or ssh_config.account()
        port = port if port != 22 else ssh_config.port_number(_first(config, "port") or "22")
    except ssh_config.ConfigError as error:
        raise NodeError(label, f"~/.ssh/config: {error}") from error
    if (command := _first(config, "proxycommand")) and command != "none":
        hint = 'Set transport = "openssh" in the profile, which uses the ssh program.'
        text = f"~/.ssh/config: ProxyCommand is not supported by paramiko: {command}"
        raise NodeError(label, text, hint)
    files = keys or tuple(
        ssh_config.expanded(name, host, user) for name in config.get("identityfile", ())
    )
    known = _files(_first(config, "userknownhostsfile"))
    known += _files(_first(config, "globalknownhostsfile"))
    return Target(
        node=label,
        host=host,
        port=port,
        user=user,
        address=address,
        keys=keys or tuple(name for name in files if any(map(os.path.exists, halves(name)))),
        only_these_keys=bool(keys) or _first(config, "identitiesonly") == "yes",
        jumps=() if jump in ("", "none") else tuple(jump.split(",")),
        agent=ssh_config.expanded(_first(config, "identityagent"), host, user),
        key_name=_first(config, "hostkeyalias"),
        known_hosts=tuple(ssh_config.expanded(name, host, user) for name in known),
    )


def halves(key: str) -> tuple[str, str]:
    """The file of a private key, which may be in an agent only, and that of its public half."""
    return key, f"{key}.pub"


def _files(text: str) -> list[str]:
    """File names; `ssh -G` writes spaces within a name as they are."""
    if os.path.exists(text):
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _first(config: ssh_config.Settings, key: str) -> str:
    return next(iter(config.get(key, ())), "")
