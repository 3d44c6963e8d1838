"""A cluster of real hosts for the session, and a home with keys for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Cluster, Host, cluster
from tests.cluster.lab import ClusterLab


@pytest.fixture(scope="session")
def built_cluster() -> Iterator[Cluster]:
    with cluster("alpha", "beta", "gamma", "delta") as built:
        yield built


@pytest.fixture
def hosts(built_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The hosts, all reachable; a test that leaves a process on any of them fails."""
    built_cluster.repair()
    monkeypatch.setenv("HOME", str(built_cluster.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    known = (built_cluster.home / ".ssh/known_hosts").read_text()
    yield built_cluster
    Path(built_cluster.home / ".ssh/known_hosts").write_text(known)


@pytest.fixture
def shared() -> Iterator[str]:
    """A folder that every host sees."""
    folder = tempfile.mkdtemp(prefix="shared-", dir="/var/tmp")
    yield folder
    shutil.rmtree(folder)


both_transports = pytest.mark.parametrize("transport", ["ssh", "openssh"])
"""For a test with `lab`: through paramiko, and through the ssh program."""


@pytest.fixture
def transport() -> str:
    return "ssh"


@pytest.fixture
def own_sshd(hosts: Cluster) -> Iterator[Host]:
    """A host whose sshd a test restarts with other settings."""
    host = hosts["alpha"]
    log = host.root / "run/sshd.log"
    log.unlink(missing_ok=True)
    yield host
    host.kill_sshd()
    log.unlink(missing_ok=True)
    hosts.repair()


@pytest.fixture
def lab(
    hosts: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> Iterator[ClusterLab]:
    """Runs on the hosts; the test fails when any process of any host is left."""
    # pytest's own temporary folders are too deep for a socket.
    runtime = tempfile.mkdtemp(prefix="lab-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path / "profiles"))
    monkeypatch.setenv("NO_COLOR", "1")
    lab = ClusterLab(hosts, tmp_path, transport)
    config = hosts.home / ".ssh/config"
    if transport == "openssh":
        # ssh looks for keys in the account's home folder and not in HOME.
        files = f"IdentityFile {config.parent}/id_ed25519\n"
        config.write_text(f"{files}UserKnownHostsFile {config.parent}/known_hosts\n")
    try:
        yield lab
        hosts.repair()
        lab.nothing_left()
    finally:
        hosts.repair()
        lab.end_all()
        config.unlink(missing_ok=True)
        shutil.rmtree(runtime, ignore_errors=True)
