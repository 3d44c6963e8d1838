"""Login: host keys are compared as in OpenSSH, user keys come from files and agents."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import paramiko

from launcher.errors import LoginError, NodeError
from launcher.remote import host_keys, ssh_config
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.known_hosts import KnownKeys, known_keys
from launcher.remote.ssh_target import Target, halves

CONNECT_S = 10.0
KEEPALIVE_S = 15


def read_user_config(address: str) -> ssh_config.Settings:
    """Without an ssh program: the user's file, read by paramiko. Raises `ConfigError`."""
    # paramiko needs a name, which an account without a passwd entry does not have.
    os.environ.setdefault("LOGNAME", ssh_config.account())
    try:
        text = ssh_config.with_includes(ssh_config.user_file())
        found = paramiko.SSHConfig.from_text(text).lookup(address)
    except (paramiko.SSHException, ValueError, OSError) as error:
        raise ssh_config.ConfigError(str(error)) from error
    return {
        key: tuple(value) if isinstance(value, list) else (str(value),)
        for key, value in found.items()
        if value is not None
    }


def log_in(
    client: paramiko.SSHClient, target: Target, sock: Any, confirm_host: ConfirmHost | None
) -> None:
    """Connects a client and verifies the host. Raises `NodeError`."""
    where, known = target.words, _known_keys(target)
    client.set_missing_host_key_policy(_Policy(target, known, confirm_host))

    def transport_of(sock: Any, **settings: Any) -> paramiko.Transport:
        """Requests keys of the known types first, as ssh does."""
        made = paramiko.Transport(sock, **settings)
        options = made.get_security_options()
        types = {kind for kind, _ in known.keys}
        options.key_types = sorted(options.key_types, key=lambda kind: _key_type(kind) not in types)
        return made

    strategy = _agent_keys(target)
    # Without the agent, the private half of such a key is nowhere.
    files = [key for key in target.keys if os.path.exists(key) and not key.endswith(".pub")]
    try:
        client.connect(
            target.host,
            port=target.port,
            username=target.user,
            # A list works, against the type stubs of paramiko.
            key_filename=cast(str, files) if files else None,
            look_for_keys=not target.only_these_keys,
            timeout=CONNECT_S,
            banner_timeout=CONNECT_S,
            auth_timeout=CONNECT_S,
            sock=sock,
            transport_factory=cast(Any, transport_of),
            auth_strategy=strategy,
        )
    except paramiko.PasswordRequiredException as error:
        hint = "Load it into an agent: ssh-add."
        raise LoginError(target.node, f"{where}: a key has a passphrase: {error}", hint) from error
    except paramiko.AuthenticationException as error:
        raise _no_key(target) from error
    except socket.gaierror as error:
        hint = "Check the address in the profile, or HostName in ~/.ssh/config."
        raise NodeError(target.node, f"{target.host} has no address: {error}", hint) from error
    except (TimeoutError, paramiko.ssh_exception.NoValidConnectionsError, OSError) as error:
        hint = "Check that the machine is up, its sshd runs, and no firewall blocks the port."
        raise NodeError(target.node, f"{where} can't be reached: {_cause(error)}", hint) from error
    except (paramiko.SSHException, EOFError, ValueError) as error:
        # The second: sshd closed the connection after as many keys as it lets a client try.
        if re.search("No authentication methods|No existing session", str(error)):
            raise _no_key(target) from error
        is_other = "banner" in str(error)
        hint = "Check the port: another program seems to listen there." if is_other else ""
        text = f"{where}: {error or 'the connection was closed'}"
        raise NodeError(target.node, text, hint) from error
    finally:
        if strategy is not None:
            strategy.agent.close()
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE_S)


def _no_key(target: Target) -> LoginError:
    return LoginError(
        target.node,
        f"{target.words} accepts none of your keys",
        f"Try `ssh -p {target.port} {target.user}@{target.address}`; ssh-copy-id installs a key.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        texts = {getattr(cause, "strerror", None) or str(cause) for cause in error.errors.values()}
        return "; ".join(sorted(texts))
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    return str(error)


def _known_keys(target: Target) -> KnownKeys:
    names = [host_keys.host_name(target.key_name or target.host, target.port)]
    if target.key_name:
        names = [target.key_name]
    files = target.known_hosts or (str(host_keys.user_file()), str(host_keys.SYSTEM_FILE))
    return known_keys(names, files)


def _key_type(algorithm: str) -> str:
    """The type of key that an algorithm of host keys uses: RSA keys sign in several ways."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


class _Agent(paramiko.agent.AgentSSH):
    """The agent at another socket than SSH_AUTH_SOCK."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_S)
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]
        except (OSError, paramiko.SSHException):
            connection.close()

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]


class _AgentKeys(paramiko.auth_strategy.AuthStrategy):
    """The keys of an agent that ssh would try, then key files."""

    def __init__(self, user: str, keys: Sequence[paramiko.PKey], agent: _Agent) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._user, self._keys = user, keys
        self.agent = agent

    def get_sources(self) -> Any:
        for key in self._keys:
            yield paramiko.auth_strategy.InMemoryPrivateKey(username=self._user, pkey=key)


def _agent_keys(target: Target) -> _AgentKeys | None:
    """For IdentitiesOnly and IdentityAgent, which paramiko does not support; else `None`.

    With IdentitiesOnly an agent's key is used when its public half is an IdentityFile (or that
    file's `.pub`); other keys would use up the attempts that sshd allows.
    """
    listed = {}
    for name in target.keys:
        for path in halves(name):
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = Path(path).read_text(encoding="ascii").split()
                listed[base64.b64decode(words[1])] = name
    is_other = target.agent not in ("", "SSH_AUTH_SOCK")
    if target.agent == "none" or not (is_other or (target.only_these_keys and listed)):
        return None
    path = target.agent if is_other else os.environ.get("SSH_AUTH_SOCK", "")
    if path.startswith("$"):
        path = os.environ.get(path.strip("${}"), "")
    if not path:
        return None
    agent = _Agent(path)
    keys: list[paramiko.PKey] = [
        key for key in agent.get_keys() if not target.only_these_keys or key.asbytes() in listed
    ]
    if not keys:
        agent.close()
        return None
    for name in target.keys:
        with contextlib.suppress(OSError, ValueError, paramiko.SSHException):
            keys.append(paramiko.PKey.from_path(name))
    return _AgentKeys(target.user, keys, agent)


class _Policy(paramiko.MissingHostKeyPolicy):
    """Compares every host key with the known ones; an unknown one must be confirmed."""

    def __init__(self, target: Target, known: KnownKeys, confirm_host: ConfirmHost | None) -> None:
        self._target = target
        self._known = known
        self._confirm_host = confirm_host

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        node, known, kind, shown = self._target.node, self._known, key.get_name(), key.asbytes()
        hostname = self._target.key_name or hostname
        if shown in known.revoked:
            raise host_keys.revoked(node, hostname, shown)
        if any(shown == other for _, other in known.keys):
            return
        if known.keys:
            of_kind = [other for other_kind, other in known.keys if other_kind == kind]
            expected = of_kind[0] if of_kind else known.keys[0][1]
            raise host_keys.changed(node, hostname, expected, shown)
        host_keys.accept_unknown(node, hostname, kind, shown, self._confirm_host)
