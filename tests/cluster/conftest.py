"""A cluster of real hosts for the session, and a home with keys for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Cluster, cluster
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
def lab(hosts: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterLab]:
    """Runs on the hosts; the test fails when any process of any host is left."""
    # pytest's own temporary folders are too deep for a socket.
    runtime = tempfile.mkdtemp(prefix="lab-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path / "profiles"))
    monkeypatch.setenv("NO_COLOR", "1")
    lab = ClusterLab(hosts, tmp_path)
    try:
        yield lab
        hosts.repair()
        lab.nothing_left()
    finally:
        hosts.repair()
        lab.end_all()
        shutil.rmtree(runtime, ignore_errors=True)
