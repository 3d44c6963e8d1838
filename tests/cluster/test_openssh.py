"""The ssh program as transport, against real sshds: one login for all, and what ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.core.profile.model import Node
from launcher.errors import HostKeyError, LoginError, NodeError
from launcher.ipc import operations as op
from launcher.remote.node_client import NodeClient
from launcher.remote.openssh import program
from launcher.remote.openssh.connection import SharedConnection
from launcher.remote.openssh.login import Login
from launcher.remote.openssh.master import Master
from tests.cluster.hosts import Host, call, until
from tests.cluster.lab import ClusterLab
from tests.cluster.person import at_terminal, launch
from tests.cluster.security_key import SecurityKey, security_key

LIMIT_S = 120


@pytest.fixture
def transport() -> str:
    return "openssh"


@pytest.fixture
def two_factors(own_sshd: Host) -> Iterator[Host]:
    """It wants a key and then a code, which a person types: keyboard-interactive by PAM."""
    services = own_sshd.root / "run/pam.d"
    services.mkdir()
    (services / "check_code.py").write_text(CHECK_CODE)
    check = f"{sys.executable} /etc/pam.d/check_code.py"
    (services / "sshd").write_text(
        f"auth required pam_exec.so expose_authtok quiet {check}\n"
        "auth required pam_permit.so\n"
        "account required pam_permit.so\n"
        "session required pam_permit.so\n"
    )
    own_sshd.run("mount", "--bind", "/run/pam.d", "/etc/pam.d")
    own_sshd.restart_sshd(
        "UsePAM=yes",
        "PermitRootLogin=yes",
        "KbdInteractiveAuthentication=yes",
        "AuthenticationMethods=publickey,keyboard-interactive",
    )
    yield own_sshd
    own_sshd.run("umount", "/etc/pam.d")
    shutil.rmtree(services)


def type_code(terminal: int) -> None:
    os.write(terminal, b"482913\n")


CHECK_CODE = """\
import sys
sys.exit(sys.stdin.read().rstrip("\\0") != "482913")
"""


def node_of(host: Host, **changes: str) -> Node:
    return Node(address=host.address, name=host.name, user="root", transport="openssh", **changes)


def master_pid(host: Host) -> int:
    socket = Master(node_of(host)).socket
    argv = ["ssh", "-F", "none", "-S", str(socket), "-O", "check", "any"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(done.stderr.partition("pid=")[2].partition(")")[0])


def test_one_authentication_serves_preflight_start_watch_and_stop(
    lab: ClusterLab, two_factors: Host
) -> None:
    alpha = two_factors
    profile = str(lab.profile(nodes=("alpha",), epochs=5000, step_s=0.05, unreachable_s=600))
    refused = lab.command("start", profile, "--no-preflight")
    assert refused.returncode == 6
    assert "alpha: root@" in refused.stderr
    assert "ssh cannot log in without you: root@" in refused.stderr
    assert "Type: ssh " in refused.stderr
    assert "Accepted keyboard-interactive" not in alpha.sshd_log()

    shown = at_terminal(launch("preflight", profile), "Password: ", type_code)
    assert "known to ssh" in shown
    assert lab.command("start", profile, "--no-preflight").returncode == 0
    root = next(lab.runs.iterdir())
    lab.wait_for(root, "epoch_finished")
    target = f"root@{alpha.address}:/nowhere"
    watch = ("watch", target, "--openssh", "--python", sys.executable, "--once")
    assert "there is no /nowhere" in lab.command(*watch).stderr
    assert alpha.sshd_log().count("Accepted keyboard-interactive/pam") == 1

    os.kill(master_pid(alpha), signal.SIGKILL)
    needs_you = "the login has ended, and a new one needs you. Type: ssh "
    # Until the login was tried again, only the end of the connection is known.
    lab.until(lambda: any(needs_you in e["why"] for e in lab.events(root, "node_unreachable")))
    why = lab.events(root, "node_unreachable")[-1]["why"]
    assert needs_you in why
    assert "needs you" in lab.card(root)
    tries = alpha.sshd_log().count("Connection from")
    assert "needs you" in lab.command(*watch).stderr
    assert alpha.sshd_log().count("Connection from") == tries

    # A shell, as a person has it, which does not end before ssh has left its session.
    typed = why.partition("Type: ")[2]
    check = typed.replace(" -M -N -f ", " -O check ")
    shell = ["sh", "-c", f"{typed}; {check}"]
    assert "Master running" in at_terminal(shell, "Password: ", type_code)
    lab.wait_for(root, "node_reached")
    assert lab.command("stop", root.name).returncode == 0
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    assert alpha.sshd_log().count("Accepted keyboard-interactive/pam") == 2
    lab.whole(root)


@pytest.fixture
def touched_key(lab: ClusterLab, own_sshd: Host) -> Iterator[SecurityKey]:
    """Alpha takes no other one."""
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "fido"
    folder.mkdir()
    with security_key(folder) as key:
        taken = own_sshd.root / "run/fido_keys"
        shutil.copy(f"{key.identity}.pub", taken)
        own_sshd.restart_sshd("AuthorizedKeysFile=/run/fido_keys")
        with (lab.hosts.home / ".ssh/config").open("a") as config:
            config.write(f"IdentityFile {key.identity}\nSecurityKeyProvider {key.provider}\n")
        yield key
        taken.unlink()


def test_one_touch_of_a_fido_key_serves_preflight_start_and_stop(
    lab: ClusterLab, own_sshd: Host, touched_key: SecurityKey
) -> None:
    profile = str(lab.profile(nodes=("alpha",), epochs=5000, step_s=0.05, unreachable_s=600))
    refused = lab.command("start", profile, "--no-preflight")
    assert refused.returncode == 6
    assert "ssh cannot log in without you: root@" in refused.stderr
    assert touched_key.signed == 0

    asks = "Confirm user presence for key ED25519-SK"
    shown = at_terminal(launch("preflight", profile), asks, touched_key.touch)
    assert "known to ssh" in shown
    assert touched_key.signed == 1
    assert lab.command("start", profile, "--no-preflight").returncode == 0
    root = next(lab.runs.iterdir())
    lab.wait_for(root, "training_started")
    assert lab.command("stop", root.name).returncode == 0
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    assert touched_key.signed == 1
    assert own_sshd.sshd_log().count("Accepted publickey for root") == 1
    lab.whole(root)


def test_a_proxy_command_and_a_host_certificate(lab: ClusterLab, own_sshd: Host) -> None:
    ours = lab.hosts.home / ".ssh"
    for name in ("ca", "other_ca"):
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(lab.folder / name))
    public = lab.folder / "host_key.pub"
    shutil.copy(own_sshd.home / ".ssh/host_key.pub", public)
    names = ("-I", "alpha", "-h", "-n", "gate")
    call("ssh-keygen", "-q", "-s", str(lab.folder / "ca"), *names, str(public))
    shutil.copy(lab.folder / "host_key-cert.pub", own_sshd.home / ".ssh")
    own_sshd.restart_sshd("HostCertificate=/home/root/.ssh/host_key-cert.pub")
    proxy = lab.folder / "proxy.py"
    proxy.write_text(PROXY.format(folder=lab.folder, address=own_sshd.address))
    with (ours / "config").open("a") as config:
        config.write(f"Host gate\n  ProxyCommand {sys.executable} {proxy}\n")
    known = ours / "known_hosts"
    node = Node(address="gate", user="root", transport="openssh", python=sys.executable)
    known.write_text(f"@cert-authority gate {(lab.folder / 'other_ca.pub').read_text()}")
    with pytest.raises(HostKeyError, match="gate: No ED25519 host key is known"):
        Login(node).connect()
    known.write_text(f"@cert-authority gate {(lab.folder / 'ca.pub').read_text()}")
    client = NodeClient(node)
    assert client.call(op.ListFiles("/home/root/.ssh"))
    assert client.connection().run(["hostname"]).stdout == b"alpha\n"
    client.close()
    # Commands use the login: the second connection is the first that was accepted.
    assert (lab.folder / "proxied").read_text() == "xx"


PROXY = """\
import os, socket, threading
open("{folder}/proxied", "a").write("x")
there = socket.create_connection(("{address}", 22))
def up():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""


def test_a_login_that_was_refused_is_not_repeated(lab: ClusterLab, own_sshd: Host) -> None:
    own_sshd.restart_sshd("AuthenticationMethods=publickey,publickey")
    login = Login(node_of(own_sshd))
    for _ in range(3):
        with pytest.raises(LoginError, match="cannot log in without you"):
            login.connect()
    assert own_sshd.sshd_log().count("Connection from") == 1


def test_a_host_key_that_is_unknown_or_changed(lab: ClusterLab) -> None:
    known = lab.hosts.home / ".ssh/known_hosts"
    lines = known.read_text().splitlines()
    alpha = lab.hosts["alpha"]
    known.write_text(f"{alpha.address} {lines[1].partition(' ')[2]}\n")
    with pytest.raises(
        HostKeyError, match=r"host key of root@.* has changed: now SHA256:.*hosts:1"
    ):
        Login(node_of(alpha)).connect()
    known.write_text("")
    with pytest.raises(HostKeyError, match="No ED25519 host key is known") as caught:
        Login(node_of(alpha)).connect()
    assert caught.value.hint.startswith("Type: ssh ")


@pytest.fixture
def connection(lab: ClusterLab) -> Iterator[SharedConnection]:
    made = Login(node_of(lab.hosts["alpha"])).connect()
    yield made
    made.close()


def test_how_a_stream_ends(connection: SharedConnection, lab: ClusterLab) -> None:
    ends = connection.start(["sh", "-c", "cat; echo why >&2; exit 3"])
    ends.write(b"x" * 300_000)
    ends.end_input()
    read = b""
    while data := ends.read():
        read += data
    assert (len(read), ends.has_ended, ends.is_silent) == (300_000, True, False)
    assert ends.errors() == "why"

    silent = connection.start(["cat"], silent_s=0.2)
    assert silent.read() == b""
    assert (silent.is_silent, silent.has_ended) == (True, False)
    with pytest.raises(TimeoutError):
        silent.write(b"x" * 20_000_000)

    waits = connection.start(["cat"])
    reader = threading.Thread(target=waits.read)
    reader.start()
    waits.close()
    reader.join(LIMIT_S)
    assert not reader.is_alive()
    assert not waits.has_ended

    broken = connection.start(["cat"])
    broken.write(b"x")
    assert broken.read() == b"x"
    os.kill(master_pid(lab.hosts["alpha"]), signal.SIGKILL)
    assert broken.read() == b""
    assert not broken.has_ended
    # The kernel closes the files of a killed process one after the other.
    until(lambda: not connection.is_open, "the login's end is not seen")
    with pytest.raises(NodeError, match="the login that all commands share has ended"):
        connection.run(["true"])
    for stream in (ends, silent, broken):
        stream.close()


def test_more_commands_than_sshd_allows(lab: ClusterLab, own_sshd: Host) -> None:
    own_sshd.restart_sshd("MaxSessions=1")
    connection = Login(node_of(own_sshd)).connect()
    first = connection.start(["cat"])
    first.write(b"x")
    assert first.read() == b"x"
    second = connection.start(["cat"])
    assert second.read() == b""
    assert "MaxSessions" in second.errors()
    first.write(b"y")
    assert first.read() == b"y"
    connection.close()


def test_a_login_lasts_longer_than_its_connection_and_is_used_again(
    lab: ClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PERSIST_S", 600)
    alpha = lab.hosts["alpha"]
    Login(node_of(alpha)).connect().close()
    pid = master_pid(alpha)
    # In no session of ours: nothing that ends a terminal reaches it.
    assert os.getsid(pid) != os.getsid(0)
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"
    folder = Master(node_of(alpha)).socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    again = Login(node_of(alpha)).connect()
    assert again.run(["hostname"]).stdout == b"alpha\n"
    assert master_pid(alpha) == pid
    again.close()


def test_a_login_that_needs_nobody_ends_soon_after_its_last_command(
    lab: ClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for a busy machine to hold a login that was just made.
    monkeypatch.setattr(program, "PERSIST_S", 2)
    connection = Login(node_of(lab.hosts["alpha"])).connect()
    assert connection.run(["hostname"]).stdout == b"alpha\n"
    connection.close()
    # It removes its socket. To ask it would be a command, after which it stays as long again.
    lab.until(lambda: not Master(node_of(lab.hosts["alpha"])).socket.exists())
    assert "ControlPersist=14400" in program.login_of_person(connection._node, Path("/x"))
