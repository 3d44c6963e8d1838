"""On which nodes the checkpoints of a run are looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launcher.core.plan.model import NodeFacts
from launcher.core.profile.load import load_profile
from launcher.core.run.info import RunInfo
from launcher.planning.attempt import plan_attempt
from launcher.planning.checkpoint_store import stores_of
from launcher.remote.node_client import NodePool
from launcher.store import run as run_files

# In a rank table 10.0.0.10 comes before 10.0.0.9, so rank 0 is on b.
PROFILE = """
name = "p"
device_target = "Ascend"
start_method = "ranktable"
[checkpoint]
copies = 2
[node_defaults]
transport = "ssh"
[[nodes]]
name = "a"
address = "10.0.0.9"
devices = [{ device_id = 0, device_ip = "10.1.0.1" }]
[[nodes]]
name = "b"
address = "10.0.0.10"
devices = [{ device_id = 0, device_ip = "10.1.0.2" }]
"""


def test_with_a_rank_table_rank_0_is_not_always_on_the_first_node(tmp_path: Path) -> None:
    profile = load_profile(PROFILE, "p.toml")
    root = tmp_path / "p-1"
    run_files.create(root, RunInfo("p-1", "p", 0.0, 2), profile)
    facts = {node: NodeFacts(run_directory=f"/runs-of-{node}/p-1") for node in ("a", "b")}
    plan = plan_attempt(profile, "p-1", root, 1, facts=facts)
    path = root / "attempts/001/plan.json"
    path.parent.mkdir(parents=True)
    path.write_text(plan.to_json())
    run = run_files.load(root)
    found = [(store.name, store.folder, store.is_copy) for store in stores_of(run, NodePool())]
    assert found == [
        ("b", "/runs-of-b/p-1/checkpoint", False),
        ("a", "/runs-of-a/p-1/copies", True),
    ]
    # On a alone, what rank 0 wrote on b is still found.
    alone = load_profile(PROFILE.partition('[[nodes]]\nname = "b"')[0].replace("= 2", "= 1"), "p")
    edited = replace(run, profile=alone)
    names = [store.name for store in stores_of(edited, NodePool(), before=profile)]
    assert names == ["a", "b"]
