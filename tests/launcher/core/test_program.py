"""The [program] table: its errors, and the plan of a script's ranks."""

from __future__ import annotations

import pytest

from launcher.core.checks.expected import checks_of
from launcher.core.plan import program
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import Plan, RunContext, plan_from_json
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.core.run.requests import StartRequest
from launcher.errors import ProfileError

TWO_NODES = """\
name = "p"
device_target = "CPU"
start_method = "{method}"
environment = {{ PYTHONPATH = "/mine" }}
{top}

[[nodes]]
address = "10.0.0.1"
transport = "local"
slots = 2

[[nodes]]
address = "10.0.0.2"
python = "/env/bin/python"
slots = 2
{tables}
"""
PROGRAM = '[program]\ncommand = ["python", "train.py"]\n'


def profile(tables: str = PROGRAM, method: str = "cluster", top: str = "") -> Profile:
    return load_profile(TWO_NODES.format(method=method, tables=tables, top=top), "p.toml")


def plan(known: Profile, resume: str = "") -> Plan:
    context = RunContext("r", "/runs/r", python="/env/bin/python", master_port=20001, resume=resume)
    return make_plan(program.placed(known, "/work"), context)


def test_torch_ranks_get_the_variables_of_torchrun_and_no_scheduler() -> None:
    found = plan(profile(PROGRAM + 'rank_variables = "torch"'))
    assert [process.name for process in found.processes] == [f"rank {rank}" for rank in range(4)]
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    for rank, process in enumerate(found.ranks):
        values = [process.environment[name] for name in names]
        assert values == [str(rank), "4", str(rank % 2), "2", "10.0.0.1", "20001"]
        assert not [name for name in process.environment if name.startswith("MS_ROLE")]
    assert found.files == ()
    assert not found.runs_trainer
    assert plan_from_json(found.to_json()) == found


@pytest.mark.parametrize("variables", ["mindspore", "torch"])
def test_mpirun_starts_a_script_like_the_trainer(variables: str) -> None:
    found = plan(profile(PROGRAM + f'rank_variables = "{variables}"', method="mpirun"))
    last = found.ranks[-1]
    assert not last.is_started
    assert not last.is_own
    name = "RANK" if variables == "torch" else "RANK_ID"
    assert last.environment[name] == "3"
    roles = [process.role.value for process in found.processes]
    assert ("scheduler" in roles) is (variables == "mindspore")


def test_mindspore_ranks_get_the_variables_of_the_trainer() -> None:
    found = plan(profile())
    bundled = plan(profile(""))
    assert [p.role for p in found.processes] == [p.role for p in bundled.processes]
    for one, other in zip(found.ranks, bundled.ranks, strict=True):
        assert one.environment == other.environment


def test_python_is_that_of_the_node_and_the_folder_that_of_the_start() -> None:
    first, *_, last = plan(profile()).ranks
    assert (first.argv, first.working_directory) == (("python", "train.py"), "/work")
    assert (last.argv, last.working_directory) == (("/env/bin/python", "train.py"), "~")


def test_a_resume_names_the_checkpoint_or_runs_its_own_command() -> None:
    assert plan(profile(), "/c/1.pt").ranks[0].environment["EFFNET_RESUME"] == "/c/1.pt"
    known = profile(PROGRAM + 'resume_command = ["sh", "again.sh", "--from={checkpoint}"]')
    assert plan(known).ranks[0].argv == ("python", "train.py")
    assert plan(known, "/c/1.pt").ranks[0].argv == ("sh", "again.sh", "--from=/c/1.pt")
    by_itself = plan(known, program.FOUND_BY_ITSELF).ranks[0]
    assert by_itself.argv == ("sh", "again.sh", "--from=")
    assert "EFFNET_RESUME" not in by_itself.environment


def test_a_command_replaces_what_is_for_the_bundled_trainer() -> None:
    bundled = profile("[trainer]\nepoch_size = 2", top='data_path = "/d"')
    made = program.with_command(bundled, ["./run.sh", "-x"])
    assert made.program is not None
    assert made.program.command == ("./run.sh", "-x")
    assert (made.trainer, made.data_path) == ({}, "")
    assert program.with_command(bundled, ()) == bundled
    # What a profile's own table says about the command stays.
    kept = program.with_command(profile(PROGRAM + 'checkpoints = "*.pt"'), ["b"])
    assert kept.program is not None
    assert kept.program.checkpoints == "*.pt"


def test_the_printed_command_starts_the_same_program() -> None:
    request = StartRequest(note="n", program=("python", "train.py", "--lr", "0.1"))
    words = "effnet-launch start p --note n -- python train.py --lr 0.1"
    assert request.command("p") == words.split()


@pytest.mark.parametrize(
    ("tables", "top", "problem"),
    [
        ("[program]\ncommand = []", "", "program.command"),
        ('[program]\ncommand = ["a", ""]', "", "program.command[1]"),
        ('[program]\ncommand = "python train.py"', "", "program.command: a list"),
        (PROGRAM + 'rank_variables = "tf"', "", "program.rank_variables: 'mindspore' or 'torch'"),
        (PROGRAM + 'checkpoint = "*.pt"', "", "program.checkpoint: no such key"),
        (PROGRAM + "[trainer]\nlr_max = 1.0", "", "trainer: not with [program]"),
        (PROGRAM + "[checkpoint]\nshared = true", "", "checkpoint: not with [program]"),
        (PROGRAM, 'data_path = "/d"', "data_path: not with [program]"),
    ],
)
def test_errors_name_the_key(tables: str, top: str, problem: str) -> None:
    with pytest.raises(ProfileError) as error:
        profile(tables, top=top)
    assert problem in str(error.value)


def test_torch_needs_no_rank_table() -> None:
    text = TWO_NODES.format(
        method="ranktable", top="", tables=PROGRAM + 'rank_variables = "torch"'
    ).replace('"CPU"', '"Ascend"')
    with pytest.raises(ProfileError, match="needs no rank table"):
        load_profile(text, "p.toml")


def test_checks_of_mindspores_toolkit_are_not_for_torch() -> None:
    text = TWO_NODES.format(method="cluster", top="", tables=PROGRAM).replace('"CPU"', '"GPU"')
    assert "toolkit" in checks_of(load_profile(text, "p.toml"), 0)
    torch = load_profile(text + 'rank_variables = "torch"', "p.toml")
    assert "toolkit" not in checks_of(torch, 0)
