"""ssh's configuration and known_hosts as OpenSSH treats them, on a real sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Node
from launcher.errors import NodeError
from launcher.planning.port import PortClaim
from launcher.remote import ssh, ssh_config
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

    def __init__(self, folder: Path, host_keys: dict[Path, str]) -> None:
        self.folder = folder
        self.claim = PortClaim("127.0.0.1")
        self.port = self.claim.port
        self.host_keys = [*host_keys.values()]
        self.key = folder / "right"
        (folder / "authorized").write_text(make_key(self.key) + "\n")
        lines = [*(f"HostKey {path}" for path in host_keys), "UsePAM no"]
        lines += [f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "MaxAuthTries 4"]
        lines += ["PermitRootLogin yes", f"ListenAddress 127.0.0.1:{self.port}", "PidFile none"]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Server:
        for _ in range(2000):
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
        self.claim.release()

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


@pytest.fixture(scope="module")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    folder = tmp_path_factory.mktemp("host_keys")
    return {folder / kind: make_key(folder / kind, kind) for kind in ("ed25519", "rsa")}


@pytest.fixture
def server(tmp_path: Path, home: Path, host_keys: dict[Path, str]) -> Iterator[Server]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Server(folder, host_keys) as started:
        started.known(home, f"{started.name} {started.host_keys[0]}")
        yield started


def log_in(identity_file: str = "") -> str:
    connection = ssh.connect(Node(address="box", identity_file=identity_file))
    try:
        return connection.run(["echo", "hello there"]).stdout.decode().strip()
    finally:
        connection.close()


# Configuration


def without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_config, "ask_ssh", lambda host: None)


@pytest.mark.parametrize("is_installed", [True, False], ids=["ssh -G", "no ssh program"])
@pytest.mark.parametrize(
    "include",
    [
        "Include {folder}/*.conf\n",
        "include = {folder}/*.conf\n",
        'Include /nowhere/* "{folder}/a.conf"\n',
        "Include {folder}/more\n",
        "Host gpu-a\n  Include {folder}/*.conf\nHost *\n",
    ],
    ids=["plain", "equal sign", "in quotes", "nested", "in a block"],
)
def test_017_ssh_config_include(
    home: Path, include: str, is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_installed:
        without_ssh(monkeypatch)
    elif shutil.which("ssh") is None:
        pytest.skip("no ssh program")
    folder = home / (".ssh/of mine" if '"' in include else ".ssh/config.d")
    folder.mkdir()
    text = include.format(folder=folder)
    (home / ".ssh/config").write_text(f"{text}IdentityFile {home}/key\nHost other\n  Port ssh\n")
    (folder / "a.conf").write_text("Host gpu-a\n  HostName 10.9.8.7\n  User trainer\n  Port 2222\n")
    (folder / "more").write_text(f"Include {folder}/a.conf\n")
    (home / "key").touch()
    found = ssh.target_of(Node(address="gpu-a"))
    assert found.words == "trainer@10.9.8.7:2222"
    # A name of a service as the port.
    assert ssh.target_of(Node(address="other")).port == 22
    # What follows the line is not part of the included file's last block.
    assert f"{home}/key" in ssh.target_of(Node(address="third")).keys


@pytest.mark.parametrize("pattern", ["config.d/*.conf", "~/.ssh/config.d/a.conf"])
def test_017_an_include_is_relative_to_the_users_folder(
    home: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an ssh program, which would use the account's home and not HOME."""
    without_ssh(monkeypatch)
    (home / ".ssh/config.d").mkdir()
    (home / ".ssh/config").write_text(f"Include {pattern}\n")
    (home / ".ssh/config.d/a.conf").write_text("Host gpu-a\n  User trainer\n")
    assert ssh.target_of(Node(address="gpu-a")).user == "trainer"


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
    with pytest.raises(NodeError, match="ProxyCommand is not supported") as caught:
        ssh.target_of(Node(address="x"))
    assert 'transport = "openssh"' in caught.value.hint


@pytest.mark.parametrize("lines", ["", "Host x\n  HostName h\n", "Host x\n  IdentityFile ~/%u\n"])
def test_006_uid_without_passwd(home: Path, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh itself refuses to work without a passwd entry, so its configuration is read here."""

    def no_user(uid: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("USER", "LNAME", "USERNAME", "LOGNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("LOGNAME")
    monkeypatch.setattr("pwd.getpwuid", no_user)
    (home / ".ssh/config").write_text(lines)
    (home / str(os.getuid())).touch()
    assert ssh_config.ask_ssh("x") is not None
    without_ssh(monkeypatch)
    found = ssh.target_of(Node(address="x"))
    assert found.user == str(os.getuid())
    assert found.host == ("h" if "HostName" in lines else "x")
    assert found.keys == ((f"{home}/{os.getuid()}",) if "Identity" in lines else ())


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


def test_020_the_profile_of_the_case() -> None:
    path = Path(__file__).parent / "inputs/020-ProxyJump-IPv6/jump6.toml"
    for node in load_profile(path.read_text(), path.name).nodes:
        assert ssh.target_of(node).jumps == ("me@[fd00::1]:2022",)


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


@pytest.fixture
def agent(home: Path) -> Iterator[Callable[[Path], str]]:
    """Loads a key into an agent that holds six others, more than sshd lets a client try."""
    path = str(home / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)

    def load(key: Path) -> str:
        while not os.path.exists(path):
            select_a_little()
        environment = {**os.environ, "SSH_AUTH_SOCK": path}
        for number in range(6):
            make_key(home / f"wrong{number}")
            subprocess.run(["ssh-add", "-q", home / f"wrong{number}"], env=environment, check=True)
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        return path

    yield load
    process.terminate()
    process.wait()


IN_AGENT = {
    # how the right key is named: lines of the configuration, the profile's identity_file
    "public half": (("IdentitiesOnly yes", "IdentityFile {key}.pub"), ""),
    "private half that is not here": (("IdentitiesOnly yes", "IdentityFile {key}"), ""),
    "tokens": (("IdentitiesOnly yes", "IdentityFile %d/{name}.pub"), ""),
    "after another": (("IdentitiesOnly yes", "IdentityFile ~/none", "IdentityFile {key}.pub"), ""),
    "in the profile": ((), "{key}"),
}


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("named", "kind"), [*((named, "ed25519") for named in IN_AGENT), ("public half", "ecdsa")]
)
def test_018_ssh_identities_only_key_in_agent(
    server: Server,
    home: Path,
    agent: Callable[[Path], str],
    named: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = home / "right"
    (server.folder / "authorized").write_text(make_key(key, kind) + "\n")
    monkeypatch.setenv("SSH_AUTH_SOCK", agent(key))
    key.rename(home / "away")
    lines, in_profile = IN_AGENT[named]
    server.config(home, *(line.format(key=key, name=key.name) for line in lines))
    assert log_in(in_profile.format(key=key)) == "hello there"


@pytest.mark.needs_root
def test_018_without_a_named_key_the_reason_is_that_no_key_is_accepted(
    server: Server, home: Path, agent: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", agent(server.key))
    server.config(home)
    with pytest.raises(NodeError, match="accepts none of your keys") as caught:
        log_in()
    assert f"`ssh -p {server.port} root@box`" in caught.value.hint


@pytest.mark.needs_root
@pytest.mark.parametrize("form", ["{path}", '"{path}"', "%d/{name}", "${{MY_AGENT}}", "$MY_AGENT"])
def test_019_ssh_identity_agent(
    server: Server,
    home: Path,
    agent: Callable[[Path], str],
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = agent(server.key)
    monkeypatch.setenv("MY_AGENT", path)
    public = server.key.with_name("right.pub").rename(home / "right.pub")
    server.key.rename(home / "away")
    line = "IdentityAgent " + form.format(path=path, name=Path(path).name)
    server.config(home, "IdentitiesOnly yes", f"IdentityFile {public}", line)
    assert log_in() == "hello there"
    server.config(home, "IdentitiesOnly yes", f"IdentityFile {public}", "IdentityAgent none")
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    with pytest.raises(NodeError):
        log_in()


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("lines", "known", "elsewhere"),
    [
        (["HostKeyAlias alias"], "alias {key}", ""),
        (["HostKeyAlias Alias.lan"], "other,alias.lan {key}", ""),
        (["HostKeyAlias alias", 'UserKnownHostsFile "{home}/other hosts"'], "", "alias {key}"),
        (['UserKnownHostsFile "{home}/other hosts"'], "", "{name} {key}"),
        (["UserKnownHostsFile ~/.ssh/none %d/.ssh/all"], "", "{name} {key}"),
        (["UserKnownHostsFile none", "GlobalKnownHostsFile {home}/.ssh/all"], "", "{name} {key}"),
    ],
    ids=["alias", "alias in a list", "alias elsewhere", "file", "two files", "system's file"],
)
def test_019_ssh_host_key_alias_and_user_known_hosts_file(
    server: Server, home: Path, lines: list[str], known: str, elsewhere: str
) -> None:
    words = {"key": server.host_keys[0], "name": server.name}
    server.known(home, known.format(**words))
    for name in ("other hosts", ".ssh/all"):
        (home / name).write_text(elsewhere.format(**words) + "\n")
    lines = [line.format(home=home) for line in lines]
    server.config(home, f"IdentityFile {server.key}", *lines)
    assert log_in() == "hello there"
    for file in (home / ".ssh/known_hosts", home / "other hosts", home / ".ssh/all"):
        file.write_text("")
    with pytest.raises(NodeError, match="is not known"):
        log_in()


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
