"""What a run writes on its nodes is for its user only."""

from __future__ import annotations

import pytest

from tests.launcher.runs.test_private import not_private


@pytest.fixture
def open_umask(hosts):
    """Login shells that let everybody read and write what they make."""
    files = [host.home / ".bashrc" for host in hosts.hosts]
    for file in files:
        file.write_text("umask 000\n")
    yield
    for file in files:
        file.unlink()


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("method", ["cluster", "mpirun"])
def test_run_folders_of_nodes_are_private(lab, method):
    root = lab.start(method=method)
    assert lab.end_of(root)["kind"] == "attempt_finished"
    lab.nothing_left()
    done = lab.command("eval", root.name)
    assert done.returncode == 0, done.stderr
    lab.nothing_left()
    assert not_private(lab.runs) == {}
    for node in ("alpha", "beta"):
        there = lab.node_file(root, node, ".")
        assert (there / "attempts/001/ranks").is_dir()
        assert not_private(there) == {}
