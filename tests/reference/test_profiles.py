"""What a script's arguments mean: the plan of a run, for devices that are not here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.core.plan.make import make_plan
from launcher.core.plan.model import Plan, Role, RunContext
from launcher.core.profile.model import Profile, StartMethod
from launcher.errors import RankTableError
from launcher.reference.arguments import SCRIPTS, parse
from launcher.reference.profiles import Machine, profile_of

GOLDEN = Path(__file__).parents[1] / "launcher" / "golden"
HERE = Machine(addresses={"127.0.0.1", "10.0.0.1"}, has_mpirun=True, environment={})


def profile(script: str, *words: object, here: Machine = HERE, **trainer: Any) -> Profile:
    arguments = parse(SCRIPTS[script], [str(word) for word in words], {})
    return profile_of(arguments, here, trainer)[0]


def plan(profile: Profile) -> Plan:
    return make_plan(profile, RunContext("r", "/runs/r", python="/usr/bin/python3"))


def test_a_single_ascend_device_is_the_requested_one(tmp_path: Path) -> None:
    (rank,) = plan(profile("run_standalone_train", 5, tmp_path)).processes
    assert rank.environment["DEVICE_ID"] == "5"
    assert rank.device_id == 5
    assert rank.argv[rank.argv.index("--device_target") + 1] == "Ascend"
    assert rank.argv[rank.argv.index("--dataset_path") + 1] == str(tmp_path)
    assert rank.argv[rank.argv.index("--run_distribute") + 1] == "False"
    assert rank.environment.keys().isdisjoint({"RANK_TABLE_FILE", "MS_ROLE"})


def test_cann_is_set_up_unless_the_shell_has_done_it(tmp_path: Path) -> None:
    set_env = "/usr/local/Ascend/ascend-toolkit/set_env.sh"
    fresh = Machine(addresses=(), has_mpirun=False, environment={}, set_env=set_env)
    (rank,) = plan(profile("run_standalone_train", 0, tmp_path, here=fresh)).processes
    assert rank.setup == (f"source {set_env}",)
    sourced = Machine((), False, {"ASCEND_TOOLKIT_HOME": "/usr/local/Ascend"}, set_env)
    (rank,) = plan(profile("run_standalone_train", 0, tmp_path, here=sourced)).processes
    assert rank.setup == ()
    (rank,) = plan(profile("run_standalone_train_gpu", 0, tmp_path, here=fresh)).processes
    assert rank.setup == ()


@pytest.mark.parametrize("name", ["ranktable-910-1x8", "ranktable-910-2x8", "ranktable-A3-4x16"])
def test_a_given_rank_table_is_passed_to_the_ranks(name: str, tmp_path: Path) -> None:
    given = GOLDEN / f"{name}.json"
    found = profile("run_distribute_train", given, tmp_path)
    assert found.start_method is StartMethod.RANKTABLE
    made = plan(found)
    table = next(file for file in made.files if file.path.endswith("ranktable.json"))
    assert json.loads(table.content) == json.loads(given.read_text())
    assert [rank.rank for rank in made.ranks] == list(range(found.world_size))
    assert {rank.environment["HCCL_CONNECT_TIMEOUT"] for rank in made.ranks} == {"600"}
    # The server that this is takes part without ssh.
    assert [node.is_local for node in found.nodes].count(True) == 1


def test_a_rank_table_that_hccl_would_refuse_is_refused(tmp_path: Path) -> None:
    table = json.loads((GOLDEN / "ranktable-910-1x8.json").read_text())
    table["server_list"][0]["device"][3]["rank_id"] = "9"
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(table))
    with pytest.raises(RankTableError) as caught:
        profile("run_distribute_train", bad, tmp_path)
    assert caught.value.hint.endswith(f"effnet-launch ranktable lint {bad}")
    assert any("rank" in problem for problem in caught.value.problems)
    bad.write_text("{}")
    with pytest.raises(RankTableError, match="cannot be used as rank table"):
        profile("run_distribute_train", bad, tmp_path)


def test_a_rank_table_names_the_devices_on_a_gpu_server_too(tmp_path: Path) -> None:
    words = [str(GOLDEN / "ranktable-910-1x8.json"), str(tmp_path)]
    arguments = parse(SCRIPTS["run_distribute_train"], words, {"DEVICE_TARGET": "GPU"})
    found, _ = profile_of(arguments, HERE, {})
    assert found.start_method is StartMethod.CLUSTER
    assert found.nodes[0].address == "127.0.0.1"
    assert [rank.environment["DEVICE_ID"] for rank in plan(found).ranks] == list("01234567")


def test_gpus_are_started_by_mpirun_and_without_it_by_the_cluster(tmp_path: Path) -> None:
    words = ("run_train_gpu", 3, "1,4,7", tmp_path)
    found = profile(*words)
    assert found.start_method is StartMethod.MPIRUN
    made = plan(found)
    assert [rank.environment["DEVICE_ID"] for rank in made.ranks] == ["1", "4", "7"]
    assert [process.role for process in made.processes if process.is_started] == [Role.MPIRUN]
    without = Machine((), has_mpirun=False, environment={})
    arguments = parse(SCRIPTS["run_train_gpu"], [str(word) for word in words[1:]], {})
    found, notes = profile_of(arguments, without, {})
    assert found.start_method is StartMethod.CLUSTER
    assert notes == ("no mpirun here: the ranks start with MindSpore's dynamic cluster",)


def test_a_resume_on_ascend_needs_no_rank_table(tmp_path: Path) -> None:
    words = ("run_distribute_resume", 2, "0,1", tmp_path, tmp_path, "Ascend")
    found = profile(*words, variant="b0")
    assert found.start_method is StartMethod.CLUSTER
    assert found.trainer == {"variant": "b0"}
    assert {rank.environment["MS_ROLE"] for rank in plan(found).ranks} == {"MS_WORKER"}
