"""What a plain `srun` says, as MindSpore's variables; tests/slurm/test_srun.py runs a real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from effnet.distributed import slurm
from effnet.distributed.group import GroupError

STEP = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "localhost,node-2",
    "SLURM_STEP_TASKS_PER_NODE": "3,2",
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


def test_a_task_of_a_step_is_a_rank() -> None:
    found = slurm.variables(STEP)
    assert found["MS_ROLE"] == "MS_WORKER"
    assert (found["MS_NODE_ID"], found["RANK_ID"]) == ("4", "4")
    assert (found["MS_WORKER_NUM"], found["RANK_SIZE"]) == ("5", "5")
    assert (found["DEVICE_ID"], found["LOCAL_WORLD_SIZE"]) == ("1", "2")
    assert found["MS_SCHED_HOST"] == socket.gethostbyname("localhost")
    assert int(found["MS_SCHED_PORT"]) in slurm.PORTS


def test_all_tasks_have_the_same_port_and_the_next_step_another() -> None:
    assert slurm.port("71", "2") == slurm.port("71", "2")
    assert len({slurm.port("71", str(step)) for step in range(20)}) == 20


def test_what_is_set_stays() -> None:
    given = {"MS_SCHED_HOST": "10.0.0.9", "MS_SCHED_PORT": "9000", "MS_NODE_TIMEOUT": "5"}
    assert not given.keys() & slurm.variables({**STEP, **given}).keys()


def test_a_task_that_sees_one_device_uses_that() -> None:
    assert slurm.variables({**STEP, "CUDA_VISIBLE_DEVICES": "3"})["DEVICE_ID"] == "0"
    assert slurm.variables({**STEP, "CUDA_VISIBLE_DEVICES": "2,3"})["DEVICE_ID"] == "1"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n[1-3,7],m2", "n1"),
        ("a.lan,b[1-2]", "a.lan"),
        ("gpu-a[007,9-10]", "gpu-a007"),
        ("rack[0-1]n[03-5]", "rack0n03"),
    ],
)
def test_the_first_node_of_a_list(nodes: str, first: str) -> None:
    assert slurm.first_host(nodes) == first


def test_tasks_of_each_node() -> None:
    assert slurm.tasks_per_node("2(x3),1") == [2, 2, 2, 1]


def test_only_several_tasks_of_srun_are_ranks_that_belong_together() -> None:
    assert slurm.is_step(STEP)
    assert not slurm.is_step({**STEP, "SLURM_STEP_NUM_TASKS": "1"})
    batch_script = {key: value for key, value in STEP.items() if "STEP" not in key}
    assert not slurm.is_step(batch_script)
    for starter in ("MS_ROLE", "RANK_TABLE_FILE", "OMPI_COMM_WORLD_RANK"):
        assert not slurm.is_step({**STEP, starter: "x"})


def test_a_first_node_without_an_address_says_what_to_set() -> None:
    with pytest.raises(GroupError, match="MS_SCHED_HOST"):
        slurm.variables({**STEP, "SLURM_STEP_NODELIST": "no-such-node.invalid,b"})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(GroupError, match="SLURM_PROCID"):
        slurm.variables({key: value for key, value in STEP.items() if key != "SLURM_PROCID"})


def test_it_can_be_refused() -> None:
    code = "from effnet.distributed import slurm\nwith slurm.step(False) as found: print(found)"
    environment = {**os.environ, **STEP, "SLURM_PROCID": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
