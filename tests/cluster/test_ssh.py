"""SSH against real sshds: who is trusted, how words travel, what an error says."""

from __future__ import annotations

import pytest

from launcher.core.profile.model import Node
from launcher.errors import NodeError
from launcher.remote import ssh
from tests.cluster.hosts import until


def node(hosts, name="alpha", **changes):
    return Node(address=hosts[name].address, name=name, user="root", **changes)


def test_hosts_are_real_ones(hosts):
    before = hosts.processes()
    for host in hosts.hosts:
        connection = ssh.connect(node(hosts, host.name))
        try:
            assert connection.run(["hostname"]).stdout == f"{host.name}\n".encode()
            assert connection.run(["sh", "-c", "echo $HOME"]).stdout == b"/home/root\n"
            # The machine's own have at least the cluster's folder.
            assert b"cluster-" not in connection.run(["ls", "/tmp", "/dev/shm", "/run"]).stdout
        finally:
            connection.close()
    until(lambda: all(seen <= before[name] for name, seen in hosts.processes().items()), "left")


def test_arguments_arrive_as_they_are(hosts):
    odd = ["a b", "", "'", '"', "$HOME", "`id`", "new\nline", "*", "~", "\\", "é", ";", "-n"]
    connection = ssh.connect(node(hosts))
    try:
        result = connection.run(["printf", "%s\\0", *odd])
        assert result.stdout.decode().split("\0")[:-1] == odd
        assert connection.run(["cat"], b"x" * 3_000_000).stdout == b"x" * 3_000_000
        result = connection.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
        with pytest.raises(NodeError, match="does not answer"):
            connection.run(["sleep", "20"], timeout_s=0.5)
    finally:
        connection.close()


def test_an_unknown_host_is_asked_about_and_then_known(hosts):
    known = hosts.home / ".ssh/known_hosts"
    lines = known.read_text()
    known.write_text("")
    asked = []
    with pytest.raises(NodeError, match=r"not known: ssh-ed25519 SHA256:") as caught:
        ssh.connect(node(hosts))
    assert caught.value.exit_code == 6
    with pytest.raises(NodeError, match="not accepted"):
        ssh.connect(node(hosts), lambda question: bool(asked.append(question)))
    assert "SHA256:" in asked[0]
    assert "alpha" in asked[0]
    ssh.connect(node(hosts), lambda question: True).close()
    assert known.read_text().split() == lines.split("\n")[0].split()[:3]
    ssh.connect(node(hosts)).close()


def test_a_changed_host_key_is_refused_with_both_fingerprints(hosts):
    known = hosts.home / ".ssh/known_hosts"
    beta = known.read_text().splitlines()[1]
    wrong = f"{hosts['alpha'].address} {beta.partition(' ')[2]}\n"
    known.write_text(wrong)
    with pytest.raises(NodeError, match="has changed") as caught:
        ssh.connect(node(hosts), lambda question: True)
    assert caught.value.message.count("SHA256:") == 2
    assert known.read_text() == wrong


def test_the_users_ssh_config_is_honoured(hosts):
    config = hosts.home / ".ssh/config"
    key = (hosts.home / ".ssh/id_ed25519").rename(hosts.home / "key")
    config.write_text(
        f"Host first\n  HostName {hosts['alpha'].address}\n  User root\n  IdentityFile {key}\n"
        f"Host second\n  HostName {hosts['beta'].address}\n  User root\n  IdentityFile {key}\n"
        "  ProxyJump first\n"
    )
    try:
        connection = ssh.connect(Node(address="second"))
        origin = connection.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout.split()[0].decode()
        connection.close()
        assert origin == hosts["alpha"].address
        with pytest.raises(NodeError, match="accepts none of your keys"):
            ssh.connect(node(hosts))
        ssh.connect(node(hosts, identity_file=str(key))).close()
    finally:
        config.unlink()
        key.rename(hosts.home / ".ssh/id_ed25519")


def test_errors_name_node_address_and_cause(hosts):
    with pytest.raises(NodeError, match=r"^alpha: root@.*:2222 can't be reached: Conn") as caught:
        ssh.connect(node(hosts, port=2222))
    assert "sshd" in caught.value.hint
    with pytest.raises(NodeError, match="has no address"):
        ssh.connect(Node(address="no-such-host.invalid", user="root"))
    with pytest.raises(NodeError, match=r"gate.* has no address"):
        ssh.connect(node(hosts, proxy_jump="gate.invalid"))
