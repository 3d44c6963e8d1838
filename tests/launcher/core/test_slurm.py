"""Slurm's profile, batch script and outputs, without Slurm."""

from __future__ import annotations

import pytest

from launcher.core import slurm
from launcher.core.plan import program
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.plan.slurm import placed
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.errors import ProfileError

TEXT = """\
name = "s"
device_target = "CPU"
start_method = "slurm"

[node_defaults]
slots = 2
environment = {{ API_TOKEN = "hidden" }}

[slurm]
{slurm}
"""


def profile(table: str = "nodes = 2", more: str = "") -> Profile:
    return load_profile(TEXT.format(slurm=table) + more, "s.toml")


def context() -> RunContext:
    return RunContext("s-1", '/runs/a "b" %/s-1', python="/bin/python")


def script(made: Profile) -> str:
    plan = make_plan(made, context())
    return next(file.content for file in plan.files if file.path.endswith("batch.sh"))


def test_the_batch_script_asks_for_what_the_profile_says() -> None:
    options = 'nodes = 2\npartition = "p"\ntime_limit = "1:00"\noptions = ["--gres=gpu:2"]'
    lines = script(profile(options)).splitlines()
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=2"} <= set(lines)
    assert {"#SBATCH --partition=p", "#SBATCH --time=1:00", "#SBATCH --gres=gpu:2"} <= set(lines)
    assert "#SBATCH --signal=B:USR1@120" in lines
    assert '#SBATCH --output="/runs/a \\"b\\" %%/s-1/supervisor.log"' in lines
    assert lines[-2] == "cd '/runs/a \"b\" %/s-1' || exit 66"


def test_chosen_nodes_replace_those_that_stood_for_them_with_their_secrets() -> None:
    chosen = placed(profile(), [("n7", "10.0.0.7"), ("n9", "10.0.0.9")])
    plan = make_plan(chosen, context())
    assert plan.master_address == "10.0.0.7"
    assert [process.node for process in plan.processes] == ["n7", "n7", "n7", "n9", "n9"]
    assert chosen.secrets_of("n9") == {"API_TOKEN": "hidden"}
    assert not any(file.path.endswith("batch.sh") for file in plan.files)


@pytest.mark.parametrize(
    ("table", "more", "problem"),
    [
        ("", "", "slurm.nodes"),
        ("nodes = 2", '[[nodes]]\naddress = "a"\nslots = 1\n', "Slurm chooses the nodes"),
        ('nodes = 2\noptions = ["--nodes=3"]', "", "use slurm.nodes"),
        ('nodes = 2\noptions = ["-o x"]', "", "is set by the launcher"),
        ('nodes = 2\noptions = ["gpu"]', "", "an option of sbatch"),
        ('nodes = 2\nlogin_node = {address = "l", slots = 2}', "", "it belongs in [node_defaults]"),
        ('nodes = 2\nlogin_node = {address = "l", nam = "x"}', "", "slurm.login_node.nam"),
        ("nodes = 2\nlogin_node = {}", "", "slurm.login_node.address"),
        ('nodes = 2\nlogin_node = {address = "localhost"}', "", "on the login node itself"),
    ],
)
def test_a_profile_that_contradicts_slurm_is_refused(table: str, more: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        profile(table, more)
    assert problem in str(caught.value)


def test_a_script_does_not_start_in_a_folder_that_only_the_other_machine_has() -> None:
    login = 'login_node = {address = "login.example.org"}'
    for table, folder in (("nodes = 2", "/work"), (f"nodes = 2\n{login}", "~")):
        made = program.with_command(profile(table), ["python", "train.py"])
        assert {node.working_directory for node in program.placed(made, "/work").nodes} == {folder}


def test_the_queue_says_why_a_job_waits() -> None:
    text = "12|PENDING|Resources|2026-01-02T03:04:05\n13|RUNNING|None|N/A\n14|PENDING|New|N/A\n"
    found = slurm.parse_queue(text)
    start = "expected to start 2026-01-02 03:04:05"
    assert found["12"].words == f"job 12 waits in the queue: it waits for free nodes; {start}"
    assert not found["13"].is_waiting
    assert found["14"].words == "job 14 waits in the queue: Slurm says New"


def test_the_end_of_a_job_is_named() -> None:
    line = "JobId=5 JobName=x JobState=TIMEOUT Reason=TimeLimit Restarts=2 ExitCode=0:1 NodeList=n1"
    record = slurm.parse_job(line)
    assert record is not None
    assert (record.restarts, record.is_over) == (2, True)
    assert record.end_words("5") == "job 5 reached its time limit"
    assert slurm.parse_job("slurm_load_jobs error: Invalid job id specified") is None
    failed = slurm.JobRecord("FAILED", exit_code="0:53")
    assert "could not write into the run directory" in failed.end_words("5")


def test_a_partitions_nodes_are_counted_by_state() -> None:
    states = slurm.parse_partition("train*|up|infinite|2|idle\ntrain*|up|infinite|1|down*\n")
    assert [state.is_usable for state in states] == [True, False]
    words = "partition train: up, 3 nodes (2 idle, 1 down*), time limit infinite"
    assert slurm.partition_words(states) == words


def test_a_node_says_whether_it_is_lost_or_starts_nothing_new() -> None:
    found = slurm.parse_nodes(
        "NodeName=n1 Arch=x86_64 State=ALLOCATED ThreadsPerCore=1\n"
        "NodeName=n2 State=ALLOCATED* Weight=1\n"
        "NodeName=n3 State=IDLE+DRAIN Weight=1 Reason=Prolog error [root@2026-11-28T14:10:09]\n"
        "NodeName=n4 State=DOWN+NOT_RESPONDING Reason=Not responding [slurm@2026-11-28T14:10:09]\n"
        "NodeName=n5 State=ALLOCATED+REBOOT_REQUESTED Weight=1\n"
        "NodeName=n6 State=ALLOCATED+REBOOT_ISSUED Weight=1\n"
    )
    assert [node.is_lost for node in found.values()] == [False, True, False, True, False, True]
    assert [node.may_launch for node in found.values()] == [True, False, False, False, True, False]
    assert found["n3"].words == "drain (Prolog error)"
    assert found["n4"].words == "down, not responding (Not responding)"


@pytest.mark.parametrize(
    ("line", "is_lost"),
    [
        ("srun: error: Task launch for StepId=5.1 failed on node n3: Job prolog failed", True),
        ("srun: error: Application launch failed: Communication connection failure", True),
        ("srun: error: Node failure on n3", True),
        ("srun: error: n3: task 0: Exited with exit code 1", False),
        ("ValueError: Node failure on n3", False),
    ],
)
def test_what_srun_prints_tells_a_lost_node_from_a_program_that_ended(
    line: str, is_lost: bool
) -> None:
    assert slurm.is_lost_words(line) == is_lost


def test_a_job_that_slurm_holds_says_how_to_release_it() -> None:
    for reason in ("launch failed requeued held", "launch_failed_requeued_held"):
        assert "scontrol release 7" in slurm.QueuedJob("7", "PENDING", reason).words
