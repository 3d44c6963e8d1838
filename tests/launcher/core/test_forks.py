"""Which ranks of a plan are forked, and together with which others."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.core.plan import forks, logical
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import NodeFacts, RunContext
from launcher.core.profile.load import load_profile

CONTEXT = RunContext("r", "/runs/a b", attempt=2, python="/py", master_port=20001)
FORKED = """
name = "forked"
device_target = "CPU"
start_method = "cluster"
[[nodes]]
address = "127.0.0.1"
slots = 4
"""


def grouped(text: str, cpus: tuple[int, ...] = ()) -> list[list[int | None]]:
    """The ranks that are forked together."""
    facts = {"127.0.0.1": NodeFacts(cpus=cpus)}
    plan = make_plan(load_profile(text, "p.toml"), dataclasses.replace(CONTEXT, facts=facts))
    return [[rank.rank for rank in group] for group in forks.groups(plan.ranks)]


def test_ranks_whose_import_is_the_same_are_forked_together() -> None:
    assert grouped(FORKED) == [[0, 1, 2, 3]]
    # A rank with two cores has another OMP_NUM_THREADS, which is read at the import.
    assert grouped(FORKED, tuple(range(6))) == [[0, 2], [1, 3]]
    assert grouped(FORKED, tuple(range(5))) == [[0, 1, 2]]
    assert grouped(FORKED.replace("slots = 4", "slots = 1")) == []


@pytest.mark.parametrize(
    "change",
    [
        ('"CPU"', '"GPU"'),
        ('"CPU"', '"Ascend"'),
        ('"cluster"', '"mpirun"'),
        ("slots = 4", 'slots = 4\nsetup = ["source set_env.sh"]'),
        ("[[nodes]]", '[program]\ncommand = ["python", "a.py"]\n[[nodes]]'),
        ("[[nodes]]", "[launch]\nfork = false\n[[nodes]]"),
    ],
)
def test_ranks_are_not_forked_where_that_is_not_known_to_be_safe(change: tuple[str, str]) -> None:
    assert grouped(FORKED.replace(*change)) == []


def test_variables_of_one_rank_are_given_after_the_fork() -> None:
    plan = make_plan(load_profile(FORKED, "p.toml"), CONTEXT)
    shared = forks.shared(plan.ranks[0])
    for rank in plan.ranks:
        assert {key for key, value in rank.environment.items() if shared.get(key) != value} == (
            forks.OF_ONE_RANK - {logical.RANKS}
        )
