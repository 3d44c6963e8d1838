"""Secrets over SSH: ranks of nodes have them, and no file or command line of any host does."""

from __future__ import annotations

import pytest

from launcher import client
from launcher.store.owner import private_folder
from tests.launcher.runs.secret_marks import (
    MARK,
    environment_of,
    found_in,
    in_command_lines,
    with_secrets,
)


@pytest.mark.parametrize("kind", ["cluster", "mpirun", "first-node"])
def test_ranks_of_nodes_have_them_and_no_file_does(lab, kind):
    path = lab.profile(method="mpirun" if kind == "mpirun" else "cluster", epochs=5000)
    if kind == "first-node":
        path.write_text('supervisor = "first-node"\n' + path.read_text())
        known = (lab.hosts.home / ".ssh/known_hosts").read_text()
        (lab.hosts["alpha"].home / ".ssh/known_hosts").write_text(known)
    run = client.start(str(with_secrets(path)), client.StartRequest(preflight=False))
    root = lab.runs / run
    lab.wait_for(root, "epoch_finished")
    for rank in (0, 3):
        environment = environment_of(lab.rank_pid(root, rank))
        assert environment["HF_TOKEN"] == "a" + MARK
        assert environment["DB_PASSWORD"] == "b" + MARK
    there = [lab.node_file(root, node, ".") for node in ("alpha", "beta")]
    assert found_in([lab.runs, *there]) == []
    assert in_command_lines() == []
    assert len(found_in([private_folder(root)])) == (0 if kind == "first-node" else 1)
    client.stop(root)
    lab.end_of(root)
    lab.nothing_left()
    assert found_in([lab.runs, *there]) == []
