"""ssh's configuration, known_hosts and login shells as OpenSSH treats them, on a real sshd."""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.core.profile.model import Node
from launcher.errors import LaunchError, NodeError
from launcher.remote import ssh, ssh_config
from launcher.remote.known_hosts import known_keys, matches
from launcher.remote.ssh_login import read_user_config


def make_key(path: Path, kind: str = "ed25519") -> str:
    """A key pair. -> the public half's first two words."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


class Server:
    """A real sshd on loopback that takes one key of root's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.host_keys = [make_key(folder / f"host_{kind}", kind) for kind in ("ed25519", "rsa")]
        self.key = folder / "right"
        (folder / "authorized").write_text(make_key(self.key) + "\n")
        lines = [f"HostKey {folder}/host_ed25519", f"HostKey {folder}/host_rsa", "UsePAM no"]
        lines += [f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "MaxAuthTries 4"]
        lines += ["PermitRootLogin yes", f"ListenAddress 127.0.0.1:{self.port}", "PidFile none"]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Server:
        for _ in range(200):
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            self.process.poll()
            assert self.process.returncode is None
            select_a_little()
        raise AssertionError("sshd does not listen")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    @property
    def name(self) -> str:
        return f"[127.0.0.1]:{self.port}"

    def config(self, home: Path, *lines: str) -> None:
        head = ["Host box", "HostName 127.0.0.1", f"Port {self.port}", "User root"]
        (home / ".ssh/config").write_text("\n  ".join([*head, *lines]) + "\n")

    def known(self, home: Path, *lines: str) -> None:
        (home / ".ssh/known_hosts").write_text("".join(f"{line}\n" for line in lines))


def select_a_little() -> None:
    import select

    select.select([], [], [], 0.05)


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Iterator[Server]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Server(folder) as started:
        started.known(home, f"{started.name} {started.host_keys[0]}")
        yield started


def log_in() -> str:
    connection = ssh.connect(Node(address="box"))
    try:
        return connection.run(["echo", "hello there"]).stdout.decode().strip()
    finally:
        connection.close()


# Configuration


@pytest.mark.parametrize("is_installed", [True, False], ids=["ssh -G", "no ssh program"])
def test_017_ssh_config_include(
    home: Path, is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_installed:
        monkeypatch.setattr(ssh_config, "ask_ssh", lambda host: None)
    elif shutil.which("ssh") is None:
        pytest.skip("no ssh program")
    folder = home / ".ssh/config.d"
    folder.mkdir()
    (home / ".ssh/config").write_text(f"Include {folder}/*.conf\nHost other\n  Port ssh\n")
    (folder / "a.conf").write_text("Host gpu-a\n  HostName 10.9.8.7\n  User trainer\n  Port 2222\n")
    found = ssh.target_of(Node(address="gpu-a"))
    assert found.words == "trainer@10.9.8.7:2222"
    # A name of a service as the port.
    assert ssh.target_of(Node(address="other")).port == 22


@pytest.mark.parametrize(
    "text", [b"Host x\n  Port \xff\xfe\n", b"\xff\xfe\x00", b"Host x\n  Port abc\n"]
)
def test_017_a_configuration_that_cannot_be_read_names_its_place(home: Path, text: bytes) -> None:
    (home / ".ssh/config").write_bytes(text)
    with pytest.raises(NodeError, match="config"):
        ssh.target_of(Node(address="x"))
    # Without an ssh program no error but this.
    with contextlib.suppress(ssh_config.ConfigError):
        read_user_config("x")


def test_017_a_proxy_command_is_reported(home: Path) -> None:
    (home / ".ssh/config").write_text("Host x\n  ProxyCommand nc %h %p\n")
    with pytest.raises(NodeError, match="ProxyCommand is not supported"):
        ssh.target_of(Node(address="x"))


def test_006_uid_without_passwd(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_user() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", no_user)
    monkeypatch.setattr(ssh_config, "ask_ssh", lambda host: None)
    with pytest.raises(LaunchError):
        ssh.target_of(Node(address="x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me@[fd00::1]:2022", ("me", "fd00::1", 2022)),
        ("[fd00::1]", ("", "fd00::1", 0)),
        ("::1", ("", "::1", 0)),
        ("me@fe80::1", ("me", "fe80::1", 0)),
        ("host:ssh", ("", "host", 22)),
        ("ssh://me@host:2022", ("me", "host", 2022)),
        ("ssh://me@[::1]:22/", ("me", "::1", 22)),
        ("host", ("", "host", 0)),
    ],
)
def test_020_proxy_jump_ipv6(text: str, expected: tuple[str, str, int]) -> None:
    assert ssh_config.split_host(text) == expected


@pytest.mark.parametrize(
    "text", ["host:0x16", "host:99999", "[::1", "[::1]22", "", "-oX:22", "h:²"]
)
def test_020_a_jump_host_that_is_wrong_is_named(home: Path, text: str) -> None:
    with pytest.raises(ssh_config.ConfigError):
        ssh_config.split_host(text)
    if text:
        with pytest.raises(NodeError, match="proxy_jump"):
            ssh.connect(Node(address="10.255.255.1", proxy_jump=text))


# Keys


@pytest.mark.needs_root
def test_018_ssh_identities_only_key_in_agent(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(home / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(path):
            select_a_little()
        environment = {**os.environ, "SSH_AUTH_SOCK": path}
        for number in range(6):
            make_key(home / f"wrong{number}")
            subprocess.run(["ssh-add", "-q", home / f"wrong{number}"], env=environment, check=True)
        subprocess.run(["ssh-add", "-q", server.key], env=environment, check=True)
        public = server.key.with_name("right.pub").rename(home / "right.pub")
        server.key.rename(home / "away")
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        server.config(home, "IdentitiesOnly yes", f"IdentityFile {public}")
        assert log_in() == "hello there"
        # 019: the agent's socket in the configuration.
        monkeypatch.delenv("SSH_AUTH_SOCK")
        lines = ("IdentitiesOnly yes", f"IdentityFile {public}", f"IdentityAgent {path}")
        server.config(home, *lines)
        assert log_in() == "hello there"
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.needs_root
def test_019_ssh_host_key_alias_and_user_known_hosts_file(server: Server, home: Path) -> None:
    server.known(home, f"alias {server.host_keys[0]}")
    server.config(home, f"IdentityFile {server.key}", "HostKeyAlias alias")
    assert log_in() == "hello there"
    server.known(home)
    other = home / "other hosts"
    other.write_text(f"{server.name} {server.host_keys[0]}\n")
    server.config(home, f"IdentityFile {server.key}", f'UserKnownHostsFile "{other}"')
    assert log_in() == "hello there"


@pytest.mark.needs_root
def test_known_hosts_with_odd_lines(server: Server, home: Path) -> None:
    server.config(home, f"IdentityFile {server.key}")
    ed25519, rsa = server.host_keys
    wrong = make_key(home / "wrong")
    bad = [f"{server.name} ssh-ed25519 AAAA!", f"{server.name} ssh-rsa {ed25519.split()[1]}"]
    bad += [
        "@cert-authority *",
        f"@cert-authority * {wrong}",
        "|1|x|y ssh-ed25519 AAAA",
        "\udcff a b",
    ]
    text = "\n".join([*bad, f"[127.0.0.*]:* {wrong}", f"{server.name} {ed25519}", ""])
    (home / ".ssh/known_hosts").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert log_in() == "hello there"
    # Only the RSA key is known: it is asked for, though sshd prefers the other.
    server.known(home, f"{server.name} {rsa}")
    assert log_in() == "hello there"
    server.known(home, f"{server.name} {wrong}")
    with pytest.raises(NodeError, match="has changed"):
        log_in()
    server.known(home, f"{server.name} {ed25519}", f"@revoked * {ed25519}")
    with pytest.raises(NodeError, match="is revoked"):
        log_in()
    server.known(home, "not base64", "@revoked")
    with pytest.raises(NodeError, match="is not known"):
        log_in()


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ("*.lan", "a.lan", True),
        ("*.lan,!b.lan", "b.lan", False),
        ("[10.0.0.?]:2222", "[10.0.0.5]:2222", True),
        ("[10.0.0.5]:2222", "1", False),
        ("Alpha", "alpha", True),
        ("|1|AAAA|BBBB", "alpha", False),
        ("|1|", "alpha", False),
    ],
)
def test_patterns_of_known_hosts(patterns: str, name: str, expected: bool) -> None:
    assert matches(patterns, name) is expected


def test_hashed_names(tmp_path: Path) -> None:
    key = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x01x").decode()
    file = tmp_path / "known"
    file.write_text(f"alpha ssh-ed25519 {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=False, capture_output=True)
    assert len(known_keys(["alpha"], [file]).keys) == 1
    assert not known_keys(["beta"], [file]).keys


# Login shells

ODD = [
    "a b",
    "",
    "'",
    '"',
    "$HOME",
    "`id`",
    "new\nline",
    "*",
    "~",
    "\\",
    "é",
    ";",
    "-n",
    "!x",
    "!!",
]
ODD += ["\\n", "%s", "100%", "a'b\\'c\n!", "{a,b}", "end\n\n", "\t", "(x)", "#", "\r", "\\\\"]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "csh", "tcsh", "fish"])
def test_021_csh_login_shell(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    assert program is not None, f"{shell} is not installed: scripts/test installs it"
    for words in ([*ODD], *([word] for word in ODD)):
        command = ssh.quoted(["printf", "%s\\0", *words])
        done = subprocess.run(
            [program, "-c", command],
            capture_output=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.stdout.decode().split("\0")[:-1] == words, (command, done.stderr)


def test_021_plain_commands_stay_readable() -> None:
    assert ssh.quoted(["ls", "-l", "a b"]) == "ls -l 'a b'"
