"""Command lines of the ssh program, and what it prints when it fails.

What the user's configuration says holds, but for what would make a command wait for a person.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from launcher.core.profile.model import Node
from launcher.errors import HostKeyError, LoginError, NodeError
from launcher.process.spawn import base_environment
from launcher.remote import ssh_config
from launcher.remote.host_keys import changed_hint, host_name

CONNECT_S = 10
PERSIST_S = 10
"""How long a login stays after its last command: another one costs nothing."""
PERSIST_OF_PERSON_S = 4 * 3600
"""The same where a person would have to log in again."""

ALIVE = (15, 4)
"""ServerAliveInterval and ServerAliveCountMax: a dead connection ends after a minute."""
ALIVE_OF_PERSON = (30, 20)
"""A login that needed a person survives 10 minutes without the network."""
_OWN = ("ClearAllForwardings=yes", "PermitLocalCommand=no", "RemoteCommand=none")
_BATCH = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "LogLevel=ERROR",
    # ssh waits for a touch of such a key in batch mode too.
    "PubkeyAcceptedKeyTypes=-sk-*",
)
_WITHOUT_LOGIN = ("Control socket connect(", "mux_client_", "kex_exchange_identification:")


def words(node: Node) -> str:
    """Who logs in where, as the profile has it."""
    user = f"{node.user}@" if node.user else ""
    return f"{user}{node.address}" + (f":{node.port}" if node.port != 22 else "")


def environment() -> dict[str, str]:
    """Without our own variables, and no program with a window may ask for a passphrase."""
    return {**base_environment(), "SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "never"}


def login(node: Node, socket: Path) -> list[str]:
    """Logs in without a person, then waits in the background for commands at `socket`."""
    options = [*_alive(*ALIVE), f"ConnectTimeout={CONNECT_S}", *_BATCH, *_OWN]
    return _login(node, socket, PERSIST_S, options)


def login_of_person(node: Node, socket: Path) -> list[str]:
    """The same; ssh asks at the terminal."""
    return _login(node, socket, PERSIST_OF_PERSON_S, _alive(*ALIVE_OF_PERSON))


def command(node: Node, socket: Path, line: str) -> list[str]:
    """Runs a command over the login at `socket`, and never makes a connection of its own."""
    options = ["ControlMaster=no", "ProxyCommand=false", "RequestTTY=no", *_BATCH, *_OWN]
    return [*_to_socket(socket), "-T", "-a", "-x", *_options(options), *_host(node), line]


def check(node: Node, socket: Path) -> list[str]:
    """Asks whether the login at `socket` lives."""
    return [*_to_socket(socket), "-O", "check", *_host(node)]


def failed(node: Node, text: str, login_line: str) -> NodeError:
    """Why a login failed, from ssh's own words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "ssh gave no reason"
    if "HOST IDENTIFICATION HAS CHANGED" in text:
        now = re.search(r"SHA256:[\w+/]+", text)
        known = re.search(r"Offending .* key in (.+)", text)
        what = f"the host key of {words(node)} has changed"
        what += f": now {now[0]}" if now else ""
        what += f", another in {known[1].strip()}" if known else ""
        hint = changed_hint(host_name(node.address, node.port))
        return HostKeyError(node.label, what, hint)
    if "Host key verification failed" in text:
        what = next((line for line in lines if "host key is known" in line), last)
        return HostKeyError(node.label, f"{words(node)}: {what}", f"Type: {login_line}")
    if "denied" in text or "authentication" in text.lower():
        what = f"{words(node)}: ssh cannot log in without you: {last}"
        return LoginError(node.label, what, f"Type: {login_line}")
    hint = f"Check that `ssh {words(node)}` works; to see why not: ssh -v."
    return NodeError(node.label, f"{words(node)} can't be reached: {last}", hint)


def failed_command(text: str) -> str:
    """What a command wrote to stderr, with ssh's own messages about the shared login in words."""
    if "Session open refused by peer" in text:
        return "its sshd opens no more sessions over one login (MaxSessions)"
    if any(line.startswith(_WITHOUT_LOGIN) for line in text.splitlines()):
        return "the login that all commands share has ended"
    return text.strip()


def _login(node: Node, socket: Path, persist_s: int, options: list[str]) -> list[str]:
    master = ["-M", "-N", "-f", "-o", f"ControlPersist={persist_s}", *_options(options)]
    jump = ["-J", node.proxy_jump] if node.proxy_jump else []
    return [*_to_socket(socket), *master, *jump, *_host(node)]


def _alive(interval_s: int, count: int) -> list[str]:
    return [f"ServerAliveInterval={interval_s}", f"ServerAliveCountMax={count}"]


def _to_socket(socket: Path) -> list[str]:
    return ["ssh", *ssh_config.options_of_home(), "-S", str(socket).replace("%", "%%")]


def _host(node: Node) -> list[str]:
    found = ["-p", str(node.port)] if node.port != 22 else []
    found += ["-l", node.user] if node.user else []
    if node.identity_file:
        path = os.path.abspath(os.path.expanduser(node.identity_file))
        found += ["-i", path, "-o", "IdentitiesOnly=yes"]
    return [*found, "--", node.address]


def _options(options: list[str]) -> list[str]:
    return [word for option in options for word in ("-o", option)]
