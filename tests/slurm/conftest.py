"""One Slurm for the session, whole again before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.hosts import Cluster, cluster
from tests.slurm.lab import SlurmLab, slurm_lab
from tests.slurm.scheduler import Slurm, slurm_on


@pytest.fixture(scope="session")
def slurm_hosts() -> Iterator[Cluster]:
    with cluster("n1", "n2", "n3") as built:
        yield built


@pytest.fixture(scope="session")
def built_slurm(slurm_hosts: Cluster) -> Iterator[Slurm]:
    with slurm_on(slurm_hosts) as built:
        yield built


@pytest.fixture
def slurm(built_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """All nodes idle, no job in the queue; Slurm's commands work in this process."""
    built_slurm.repair()
    for name, value in built_slurm.environment.items():
        monkeypatch.setenv(name, value)
    return built_slurm


@pytest.fixture
def lab(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmLab]:
    """Runs in a folder that all hosts share; a process that is left on any host fails the test."""
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "EFFNET_RUNS_DIR", "NO_COLOR"):
        monkeypatch.setenv(name, "")  # put back at the end
    with slurm_lab(slurm) as made:
        yield made
