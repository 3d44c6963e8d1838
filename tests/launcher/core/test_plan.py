"""Placement and the plans of the three start methods."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.plan.cpu import cpu_share
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import (
    NodeFacts,
    Plan,
    PlannedProcess,
    Role,
    RunContext,
    plan_from_json,
)
from launcher.core.plan.ranktable import rank_table
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import DeviceSlot, DeviceTarget, Node, Profile, StartMethod
from launcher.core.profile.placement import place, place_nodes
from launcher.core.text.codec import from_plain
from launcher.errors import LaunchError, PlanError, RankTableError
from launcher.reading.profiles import find_profile

CONTEXT = RunContext("r", "/runs/a b", attempt=2, python="/py", master_port=20001)

ADDRESSES = st.lists(
    st.integers(1, 250).map(lambda last: f"10.0.0.{last}"), min_size=1, max_size=6, unique=True
)
NODES = ADDRESSES.flatmap(
    lambda addresses: st.tuples(
        *(
            st.integers(1, 9).map(lambda slots, a=address: Node(address=a, slots=slots))
            for address in addresses
        )
    )
)


@given(NODES, st.booleans())
def test_ranks_are_in_order_without_gaps(nodes: tuple[Node, ...], by_server_id: bool) -> None:
    places = place_nodes(nodes, by_server_id=by_server_id)
    assert [item.rank for item in places] == list(range(sum(node.slots for node in nodes)))
    for index, node in enumerate(nodes):
        mine = [item for item in places if item.node_index == index]
        assert [item.local_rank for item in mine] == list(range(node.slots))
        assert [item.device_id for item in mine] == list(range(node.slots))
        assert {item.local_world_size for item in mine} == {node.slots}
        ranks = [item.rank for item in mine]
        assert ranks == list(range(ranks[0], ranks[0] + len(ranks)))


@given(NODES)
def test_rank_tables_follow_the_dictionary_order_of_addresses(nodes: tuple[Node, ...]) -> None:
    addresses = [item.address for item in place_nodes(nodes, by_server_id=True)]
    assert addresses == sorted(addresses)


def test_the_tenth_server_comes_before_the_ninth() -> None:
    nodes = (Node(address="10.0.0.9", slots=1), Node(address="10.0.0.10", slots=1))
    assert [item.address for item in place_nodes(nodes, by_server_id=True)] == [
        "10.0.0.10",
        "10.0.0.9",
    ]


@given(st.integers(1, 16), st.lists(st.integers(0, 63), unique=True, max_size=32).map(sorted))
def test_cores_are_shared_fairly(ranks: int, cpus: list[int]) -> None:
    shares = [cpu_share(rank, ranks, cpus) for rank in range(ranks)]
    if not cpus:
        assert set(shares) == {()}
        return
    assert all(shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted({cpu for share in shares for cpu in share}) == cpus
    if ranks <= len(cpus):
        assert sum(map(len, shares)) == len(cpus)


def scheduler_of(plan: Plan) -> PlannedProcess:
    return next(process for process in plan.processes if process.role is Role.SCHEDULER)


def test_cluster_sets_what_msrun_sets() -> None:
    context = RunContext(
        "r",
        "/runs/a b",
        attempt=2,
        python="/py",
        resume="auto",
        master_port=20001,
        settings=(("lr_max", "0.1"),),
        facts={"127.0.0.1": NodeFacts(cpus=(0, 1))},
    )
    plan = make_plan(find_profile("local-cpu"), context)
    scheduler = scheduler_of(plan)
    assert scheduler.argv == ("/py", "-m", "effnet.scheduler")
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED"
    assert [process.role for process in plan.processes] == [Role.SCHEDULER, Role.RANK, Role.RANK]
    for rank, process in enumerate(plan.ranks):
        environment = process.environment
        expected = {
            "MS_ROLE": "MS_WORKER",
            "MS_SCHED_HOST": "127.0.0.1",
            "MS_SCHED_PORT": "20001",
            "MS_WORKER_NUM": "2",
            "MS_NODE_ID": str(rank),
            "RANK_ID": str(rank),
            "RANK_SIZE": "2",
            "DEVICE_ID": str(rank),
            "OMP_NUM_THREADS": "1",
            "MS_DEV_HOST_BLOCKING_RUN": "1",
            "EFFNET_STOP_FILE": "/runs/a b/stop",
            "EFFNET_HEARTBEAT": f"/runs/a b/attempts/002/ranks/000{rank}/heartbeat",
            "EFFNET_STACKS": f"/runs/a b/attempts/002/ranks/000{rank}/stacks.log",
        }
        assert expected.items() <= environment.items()
        assert int(environment["MS_NODE_TIMEOUT"]) > 300
        assert int(environment["MS_TOPO_TIMEOUT"]) >= 600
        assert process.cpus == (rank,)
        assert process.argv == (
            *["/py", "-m", "effnet", "train", "--profile_config"],
            "/runs/a b/config.toml",
            "--save_checkpoint_path",
            "/runs/a b/checkpoint",
            "--run_distribute",
            "True",
            "--device_target",
            "CPU",
            "--dataset_path",
            "data/digits",
            "--resume",
            "auto",
            "--set",
            "lr_max=0.1",
        )
    assert plan_from_json(plan.to_json()) == plan


def test_the_plan_of_an_earlier_version_is_read() -> None:
    """It had fields that no longer exist, and no limits."""
    plan = make_plan(find_profile("local-cpu"), CONTEXT)
    old = json.loads(plan.to_json())
    del old["limits"], old["log_limit_bytes"]
    for process in old["processes"]:
        process |= {"python": "/py", "metrics": "/m", "device_samples": "/d"}
    assert plan_from_json(json.dumps(old)) == dataclasses.replace(plan, log_limit_bytes=0)


def test_a_plan_has_the_limits_of_its_profile() -> None:
    text = """
        name = "a"
        device_target = "CPU"
        start_method = "cluster"
        nodes = [{ address = "127.0.0.1", slots = 2 }]
        limits = { term_s = 3, spread_s = 0.5 }
        logs = { limit_mb = 7 }
    """
    plan = plan_from_json(make_plan(load_profile(text, "a.toml"), CONTEXT).to_json())
    limits = plan.for_node("127.0.0.1").limits
    assert (limits.term_s, limits.spread_s, limits.kill_s) == (3.0, 0.5, 5.0)
    assert plan.log_limit_bytes == 7_000_000
    newer = json.loads(plan.to_json())
    newer["limits"]["of_the_next_version_s"] = 1
    assert plan_from_json(json.dumps(newer)) == plan
    for damaged in (0, "9", True, None, float("nan"), 10**400):
        newer["limits"]["term_s"] = damaged
        with pytest.raises(PlanError, match=r"limits\.term_s"):
            plan_from_json(json.dumps(newer))


def test_config_toml_holds_the_trainer_table() -> None:
    import importlib
    import sys

    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    profile = find_profile("local-cpu")
    (file,) = make_plan(profile, CONTEXT).files
    assert file.path == "/runs/a b/config.toml"
    assert toml.loads(file.content) == profile.trainer


def test_one_rank_needs_no_scheduler() -> None:
    node = Node(address="127.0.0.1", slots=1)
    profile = find_profile("local-cpu").model_copy(update={"nodes": (node,)})
    plan = make_plan(profile, CONTEXT)
    (rank,) = plan.processes
    assert rank.argv[rank.argv.index("--run_distribute") + 1] == "False"
    assert not any(key.startswith("MS_SCHED") for key in rank.environment)


def test_the_masters_address_must_be_an_ip() -> None:
    node = Node(address="somewhere", slots=2)
    profile = find_profile("local-cpu").model_copy(update={"nodes": (node,)})
    with pytest.raises(PlanError, match="is a name"):
        make_plan(profile, CONTEXT)
    address = RunContext("r", "/r", master_address="10.0.0.1")
    assert make_plan(profile, address).master_address == "10.0.0.1"


def test_remote_nodes_get_their_own_paths_and_files() -> None:
    profile = find_profile("cpu-2-nodes-ssh")
    facts = {"beta": NodeFacts(run_directory="/home/x/r", python="/opt/py")}
    plan = make_plan(profile, RunContext("r", "/runs/r", facts=facts, master_port=5000))
    part = plan.for_node("beta")
    assert (part.run_directory, part.stop_file) == ("/home/x/r", "/home/x/r/stop")
    assert (part.node.name, part.has_all_ranks) == ("beta", False)
    assert {file.nodes for file in part.files} == {("beta",)}
    assert from_plain(Plan, json.loads(part.to_json())) == part
    beta = part.processes
    assert {process.rank for process in beta} == {2, 3}
    assert all(process.argv[0] == "/opt/py" for process in beta)
    assert beta[0].log == "/home/x/r/attempts/001/ranks/0002/log.txt"
    assert beta[0].cpus == (0, 1)
    assert ("beta", "/home/x/r/config.toml") in {
        (node, file.on(node).path) for file in plan.files for node in file.nodes
    }


def test_ranktable_gives_every_rank_the_table_and_no_scheduler() -> None:
    plan = make_plan(find_profile("ascend-2x8"), CONTEXT)
    assert {process.role for process in plan.processes} == {Role.RANK}
    for process in plan.ranks:
        environment = process.environment
        assert environment["RANK_TABLE_FILE"] == "/runs/a b/attempts/002/ranktable.json"
        assert environment["RANK_ID"] == str(process.rank)
        assert environment["DEVICE_ID"] == str(process.device_id)
        assert "MS_ROLE" not in environment
        assert "OMP_NUM_THREADS" not in environment
    (table,) = [file for file in plan.files if file.path.endswith("ranktable.json")]
    assert set(table.nodes) == {"10.0.0.1", "10.0.0.2"}
    assert table.where == " on 10.0.0.1, 10.0.0.2"


@pytest.mark.parametrize("method", ["ranktable", "cluster"])
def test_a_plan_grows_with_the_nodes_and_not_with_their_square(method: str) -> None:
    """A text that all nodes get is in the plan once: 300 nodes had 110 MB."""

    def plan_of(count: int) -> Plan:
        nodes = tuple(
            Node(
                address=f"10.1.{index // 200}.{index % 200 + 1}",
                devices=tuple(
                    DeviceSlot(
                        device_id=d, device_ip=f"10.{10 + index // 200}.{index % 200 + 1}.{d}"
                    )
                    for d in range(1, 9)
                ),
            )
            for index in range(count)
        )
        changed = {"nodes": nodes, "start_method": StartMethod(method)}
        return make_plan(find_profile("ascend-2x8").model_copy(update=changed), CONTEXT)

    small, large = (len(plan_of(count).to_json()) for count in (20, 80))
    assert large < 4.2 * small
    files = plan_of(20).for_node("10.1.0.7").files
    assert [file.nodes for file in files] == [("10.1.0.7",)] * len(files)
    assert any(file.path.endswith("config.toml") for file in files)


def test_a_table_is_in_the_plan_once_whatever_the_nodes_folders_are_called() -> None:
    profile = find_profile("ascend-2x8")
    nodes = tuple(
        node.model_copy(update={"runs_directory": f"/runs-{node.address}"})
        for node in profile.nodes
    )
    plan = make_plan(profile.model_copy(update={"nodes": nodes}), CONTEXT)
    assert plan.to_json().count('\\"server_id\\": \\"10.0.0.2\\"') == 1
    for node in plan.nodes:
        (config, table) = plan_from_json(plan.to_json()).for_node(node.name).files
        folder = f"/runs-{node.name}/r"
        assert config.path == f"{folder}/config.toml"
        assert table.path == f"{folder}/attempts/002/ranktable.json"
        assert table == plan.for_node(node.name).files[1]
        variables = plan.for_node(node.name).ranks[0].environment
        assert variables["RANK_TABLE_FILE"] == table.path
    assert plan.files[1].where == (
        " on 10.0.0.1, 10.0.0.2 (as /runs-10.0.0.2/r/attempts/002/ranktable.json)"
    )


def test_a_plan_of_the_version_before_is_read() -> None:
    plan = make_plan(find_profile("ascend-2x8"), CONTEXT)
    old = json.loads(plan.to_json())
    old["files"] = [
        {**{k: v for k, v in file.items() if k != "nodes"}, "node": node}
        for file in old["files"]
        for node in file["nodes"]
    ]
    found = plan_from_json(json.dumps(old))
    assert found.for_node("10.0.0.2").files == plan.for_node("10.0.0.2").files


def test_a_device_address_can_come_from_the_node() -> None:
    devices = tuple(DeviceSlot(device_id=index) for index in range(2))
    nodes = tuple(Node(address=f"10.0.0.{last}", devices=devices) for last in (1, 2))
    profile = find_profile("ascend-2x8").model_copy(update={"nodes": nodes})
    with pytest.raises(LaunchError, match="cannot be made"):
        make_plan(profile, CONTEXT)
    facts = {
        node.address: NodeFacts(device_ips={0: f"192.168.{n}.1", 1: f"192.168.{n}.2"})
        for n, node in enumerate(nodes)
    }
    plan = make_plan(profile, RunContext("r", "/r", facts=facts))
    assert "192.168.1.2" in plan.files[-1].content


def test_mpirun_on_gpu_starts_the_ranks() -> None:
    plan = make_plan(find_profile("gpu-2x8-mpirun"), CONTEXT)
    roles = [process.role for process in plan.processes[:3]]
    assert roles == [Role.MPIRUN, Role.MPIRUN_DAEMON, Role.RANK]
    assert not any(process.is_started for process in plan.ranks)
    assert "MS_ROLE" not in plan.ranks[0].environment
    assert plan.files[-1].content == (
        "10.0.0.1 slots=8 max_slots=8\n10.0.0.2 slots=8 max_slots=8\n"
    )


def test_mpirun_on_cpu_translates_the_rank_and_keeps_the_scheduler() -> None:
    profile = find_profile("cpu-2-nodes-ssh").model_copy(
        update={"start_method": StartMethod.MPIRUN, "device_target": DeviceTarget.CPU}
    )
    plan = make_plan(profile, RunContext("r", "/r", ssh_config="/r/ssh", master_port=5000))
    roles = [process.role for process in plan.processes]
    assert roles == [Role.SCHEDULER, Role.MPIRUN, Role.MPIRUN_DAEMON, *[Role.RANK] * 4]
    daemon = plan.processes[2]
    assert (daemon.node, daemon.argv, daemon.is_started) == ("beta", ("orted",), False)
    assert plan.ranks[3].environment["MS_NODE_ID"] == "3"
    mpirun = plan.processes[1]
    assert mpirun.argv[mpirun.argv.index("plm_rsh_args") + 1] == "-F /r/ssh"
    agent = mpirun.argv[mpirun.argv.index("orte_launch_agent") + 1]
    assert agent.endswith("-m launcher.agent.mpirun_daemon /r/attempts/001 orted")
    for path in ("/my runs", "/it's", "/a$b", "/a;b", "/a`b", "/a(b"):
        with pytest.raises(PlanError, match="splits the path") as caught:
            make_plan(profile, RunContext("r", path, ssh_config=f"{path}/ssh"))
        assert "runs_directory" in caught.value.hint
    for version, name in ((4, "orted"), (5, "prted")):
        settings = profile.mpirun.model_copy(update={"version": version})
        other = profile.model_copy(update={"mpirun": settings})
        made = make_plan(other, RunContext("r", "/r", ssh_config="/r/ssh", master_port=5000))
        assert made.processes[2].argv == (name,)
    different = (profile.nodes[0], profile.nodes[1].model_copy(update={"python": "/other"}))
    with pytest.raises(PlanError, match="the same program"):
        make_plan(profile.model_copy(update={"nodes": different}), CONTEXT)


def test_profiles_are_placed_by_their_start_method() -> None:
    profile: Profile = find_profile("ascend-2x8")
    swapped = profile.model_copy(update={"nodes": profile.nodes[::-1]})
    assert [item.address for item in place(swapped)] == [item.address for item in place(profile)]


def test_a_rank_table_is_for_ascend_and_in_order_under_any_start_method() -> None:
    with pytest.raises(RankTableError, match="no rank table for CPU"):
        rank_table(find_profile("local-cpu"), CONTEXT)
    profile = find_profile("ascend-2x8")
    swapped = profile.model_copy(
        update={"nodes": profile.nodes[::-1], "start_method": StartMethod.CLUSTER}
    )
    assert rank_table(swapped, CONTEXT) == rank_table(profile, CONTEXT)


def test_ascend_ranks_have_hccls_limits_under_both_start_methods() -> None:
    for method in ("ranktable", "cluster"):
        text = f"""
            name = "a"
            device_target = "Ascend"
            start_method = "{method}"
            [[nodes]]
            address = "127.0.0.1"
            devices = [{{ device_id = 4 }}, {{ device_id = 5 }}]
            [limits]
            launch_s = 60
            node_timeout_s = 20000
        """
        plan = make_plan(load_profile(text, "a.toml"), RunContext("r", "/r"))
        for rank in plan.ranks:
            assert rank.environment["HCCL_CONNECT_TIMEOUT"] == "120"
            assert rank.environment["HCCL_EXEC_TIMEOUT"] == "17340"
        assert [rank.environment["DEVICE_ID"] for rank in plan.ranks] == ["4", "5"]


def test_a_single_rank_gets_its_device_and_no_cluster() -> None:
    text = """
        name = "a"
        device_target = "GPU"
        start_method = "cluster"
        [[nodes]]
        address = "127.0.0.1"
        devices = [{ device_id = 3 }]
    """
    (rank,) = make_plan(load_profile(text, "a.toml"), RunContext("r", "/r")).processes
    assert rank.environment["DEVICE_ID"] == "3"
    assert "MS_ROLE" not in rank.environment
