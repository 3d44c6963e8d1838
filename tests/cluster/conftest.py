"""A cluster of real hosts for the session, and a home with keys for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Cluster, cluster


@pytest.fixture(scope="session")
def built_cluster() -> Iterator[Cluster]:
    with cluster("alpha", "beta", "gamma") as built:
        yield built


@pytest.fixture
def hosts(built_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The hosts, all reachable; a test that leaves a process on any of them fails."""
    built_cluster.mend()
    monkeypatch.setenv("HOME", str(built_cluster.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    known = (built_cluster.home / ".ssh/known_hosts").read_text()
    yield built_cluster
    Path(built_cluster.home / ".ssh/known_hosts").write_text(known)
