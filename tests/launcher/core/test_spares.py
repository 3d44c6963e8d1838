"""Spares: which profiles may have them, and where a spare, a node and the master are then."""

from __future__ import annotations

import dataclasses
import io
import itertools

import pytest
from rich.console import Console

from launcher.cli.output.plan_text import print_plan, print_spares
from launcher.core.checks.expected import expected
from launcher.core.checks.row import Row, RowState, of_spare
from launcher.core.diagnosis.event_text import event_text
from launcher.core.plan import logical, program
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.profile import spares
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run import events as e
from launcher.core.run.events import Event, Failure, FailureKind
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.errors import ProfileError, UsageError
from launcher.planning import replacing

NODES = ("a", "b")
SPARES = ("s", "t")
PROFILE = """
name = "p"
device_target = "CPU"
start_method = "cluster"
secret_env = ["KEY"]
[node_defaults]
transport = "ssh"
slots = 2
environment = { KEY = "hidden" }
[[nodes]]
name = "a"
address = "10.0.0.1"
[[nodes]]
name = "b"
address = "10.0.0.2"
[[spares]]
name = "s"
address = "10.0.0.3"
[[spares]]
name = "t"
address = "10.0.0.4"
[retry]
nodes = "spare"
auto_resume = 3
"""


def profile(text: str = PROFILE) -> Profile:
    return load_profile(text, "p.toml")


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        load_profile(text, "p.toml")
    return caught.value.problems


def labels(found: Profile) -> tuple[list[str], list[str], dict[str, str]]:
    left = {item.node.label: item.spare for item in found.left_out}
    return [n.label for n in found.nodes], [n.label for n in found.spares], left


NO_SPARES = PROFILE.split("[[spares]]")[0]
SECOND = '[[nodes]]\nname = "b"\naddress = "10.0.0.2"\n'
THIRD = '[[nodes]]\nname = "c"\naddress = "10.0.0.5"\n'
SHRINK = NO_SPARES + '[retry]\nnodes = "shrink"\nauto_resume = 3\n'
WRONG = {
    "no spares": (NO_SPARES + '[retry]\nnodes = "spare"\nauto_resume = 1', "retry.nodes"),
    "never used": (PROFILE.replace('nodes = "spare"\n', ""), "retry.nodes"),
    "no automatic attempt": (PROFILE.replace("auto_resume = 3", ""), "retry.auto_resume"),
    "another count": (PROFILE.replace('"10.0.0.3"', '"10.0.0.3"\nslots = 3'), "spares[0].slots"),
    "a name": (PROFILE.replace('"10.0.0.3"', '"host-s"'), "spares[0].address"),
    "loopback": (
        PROFILE.replace('"10.0.0.3"', '"127.0.0.1"\ntransport = "local"'),
        "spares[0].address",
    ),
    "a node": (PROFILE.replace('"10.0.0.3"', '"10.0.0.2"'), "spares[0].address"),
    "a fixed port": (PROFILE + "[master]\nport = 9000", "master.port"),
    "shrink with a script": (SHRINK + '[program]\ncommand = ["x"]', "retry.nodes"),
    "shrink of one node": (SHRINK.replace(SECOND, ""), "retry.nodes"),
    "shrink without an attempt": (SHRINK.replace("auto_resume = 3", ""), "retry.auto_resume"),
    "shrink with a fixed port": (SHRINK + "[master]\nport = 9000", "master.port"),
    "shrink to a name": (SHRINK.replace('"10.0.0.2"', '"host-b"'), "nodes[1].address"),
    "a key of runs": ("left_out = []" + PROFILE, "left_out"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_refused_with_its_key(name: str) -> None:
    text, key = WRONG[name]
    assert [line.split(": ")[1] for line in problems_of(text)] == [key]


def test_a_spare_has_the_place_of_the_node_and_the_node_can_come_back() -> None:
    start = profile()
    one = spares.with_spare(start, "a", start.spares[0])
    assert labels(one) == (["s", "b"], ["t"], {"a": "s"})
    two = spares.with_spare(one, "s", one.spares[0])
    assert labels(two) == (["t", "b"], [], {"a": "t", "s": ""})
    assert two.world_size == start.world_size
    back = spares.with_own_nodes(two)
    assert labels(back) == (["a", "b"], ["t", "s"], {})
    assert profile_from_json(two.to_json()).with_secrets(start.secrets).left_out == two.left_out


@pytest.mark.parametrize(
    ("given", "lost", "moved"),
    [
        ("", "a", ""),
        ("10.0.0.1", "a", "10.0.0.3"),
        ("10.0.0.1", "b", "10.0.0.1"),
        ("10.0.0.2", "b", "10.0.0.3"),
        ("10.9.9.9", "a", "10.0.0.3"),
        ("10.9.9.9", "b", "10.9.9.9"),
    ],
)
def test_the_master_moves_with_its_node(given: str, lost: str, moved: str) -> None:
    start = profile(PROFILE + f'[master]\naddress = "{given}"')
    found = spares.with_spare(start, lost, start.spares[0])
    assert found.master.address == moved
    if given != "10.9.9.9":
        assert spares.with_own_nodes(found).master.address == given


def test_secrets_of_spares_and_left_out_nodes_are_neither_shown_nor_lost() -> None:
    start = profile()
    found = spares.with_spare(start, "a", start.spares[0])
    for item in (start, found, profile_from_json(found.to_json())):
        assert "hidden" not in item.to_json()
    for label in (*NODES, *SPARES):
        assert found.secrets_of(label) == {"KEY": "hidden"}
        again = profile_from_json(found.to_json()).with_secrets(start.secrets)
        assert again.secrets_of(label) == {"KEY": "hidden"}
    assert profile_from_json(start.to_json()).unknown_secrets == ("KEY",)


def test_the_preflight_has_rows_of_spares_and_they_stop_nothing() -> None:
    assert {node for _, node in expected(profile())} == {*NODES, *SPARES}
    row = of_spare(Row("disk", "s", RowState.FAILED, "full"))
    assert (row.state, "full" in row.text) == (RowState.WARNING, True)


def state_of(*bodies: Event) -> RunState:
    state = RunState()
    for number, event in enumerate(bodies, 1):
        state = apply(state, dataclasses.replace(event, n=number, t=100.0 + number))
    assert state.skipped == 0
    return state


def failed(attempt: int, kind: FailureKind, node: str | None) -> tuple[Event, ...]:
    failure = Failure(kind, "why", node=node)
    return e.AttemptStarted(attempt, 4), e.AttemptFailed(attempt, failure)


CREATED = e.RunCreated("r", "p", 4)
AWAY = e.NodeUnreachable(1, "b", 3.0, "no route")


@pytest.mark.parametrize(
    ("events", "left"),
    [
        (failed(1, FailureKind.SIGNAL, "b"), set()),
        ((*failed(1, FailureKind.SIGNAL, "b"), *failed(2, FailureKind.DEVICE, "b")), {"b"}),
        ((*failed(1, FailureKind.SIGNAL, "a"), *failed(2, FailureKind.DEVICE, "b")), set()),
        ((*failed(1, FailureKind.CRASH, "b"), *failed(2, FailureKind.CRASH, "b")), set()),
        ((*failed(1, FailureKind.SIGNAL, "b"), *failed(2, FailureKind.CRASH, "b")), set()),
        ((e.AttemptStarted(1, 4), AWAY, *failed(1, FailureKind.NODE, "b")[1:]), {"b"}),
        ((e.AttemptStarted(1, 4), AWAY, *failed(1, FailureKind.CRASH, "a")[1:]), {"b"}),
    ],
)
def test_a_node_is_left_out_that_is_away_or_failed_twice(
    events: tuple[Event, ...], left: set[str]
) -> None:
    state = state_of(CREATED, *events)
    assert set(replacing.nodes_to_leave(profile(), state)) == left
    assert set(replacing.nodes_to_leave(profile(SHRINK), state)) == left
    same = profile(NO_SPARES)
    assert not replacing.nodes_to_leave(same, state)


def test_too_few_spares_replace_nothing() -> None:
    away = [dataclasses.replace(AWAY, node=node) for node in NODES]
    state = state_of(CREATED, e.AttemptStarted(1, 4), *away, *failed(1, FailureKind.NODE, "b")[1:])
    nodes = replacing.without_all(profile(), state)
    assert nodes is not None
    assert nodes.words == "with s in the place of a, with t in the place of b"
    one = profile().model_copy(update={"spares": profile().spares[:1]})
    assert replacing.without_all(one, state) is None


def test_a_node_that_was_left_out_is_known_to_answer_and_is_taken_back() -> None:
    replaced = e.NodeReplaced(1, "b", "s", "away", is_reached=False)
    begun = (CREATED, e.AttemptStarted(1, 4), AWAY, *failed(1, FailureKind.NODE, "b")[1:], replaced)
    next_one = (*begun, e.AttemptStarted(2, 4), e.TrainingStarted(2))
    assert state_of(*next_one).left_out["b"].answers_s is None
    late = (e.NodeReached(1, "b"), e.RankExited(1, 2, "b", signal=9))
    state = state_of(*next_one, *late)
    assert state.left_out["b"].answers_s is not None
    assert state.status.value == "running"
    away = state_of(*next_one, *late, e.NodeUnreachable(1, "b"))
    assert away.left_out["b"].answers_s is None
    assert not state_of(*next_one, *late, e.NodeTakenBack("b")).left_out


# -- retry.nodes = "shrink"


def test_the_ranks_of_a_node_that_is_gone_still_count(three: Profile) -> None:
    assert (three.world_size, three.logical_size) == (6, 6)
    fewer = spares.without_node(three, "b")
    assert labels(fewer) == (["a", "c"], [], {"b": ""})
    assert (fewer.world_size, fewer.logical_size) == (4, 6)
    assert profile_from_json(fewer.to_json()).left_out == fewer.left_out
    assert fewer.secrets_of("b") == {"KEY": "hidden"}


@pytest.fixture
def three() -> Profile:
    return profile(SHRINK.replace(SECOND, SECOND + THIRD))


@pytest.mark.parametrize("address", ["", "10.0.0.1", "10.0.0.2", "10.0.0.5", "10.9.9.9"])
@pytest.mark.parametrize("order", [*itertools.permutations(("a", "b", "c", "s"), 3)])
def test_all_nodes_come_back_in_their_places(order: tuple[str, ...], address: str) -> None:
    """Whatever has happened: nodes that were left out, a spare that had a place, in any order."""
    spare = '[[spares]]\nname = "s"\naddress = "10.0.0.3"\n'
    master = f'[master]\naddress = "{address}"'
    start = profile(SHRINK.replace(SECOND, SECOND + THIRD + spare) + master)
    nodes = replacing.Nodes(start)
    for lost in order:
        after = nodes.without(lost, "away", 1, is_reached=False) if lost in names(nodes) else nodes
        assert after is not None
        nodes = after
        assert nodes.profile.logical_size == start.world_size
        assert nodes.profile.world_size == 2 * len(nodes.profile.nodes)
        found = nodes.profile.master.address
        assert not address or found == "10.9.9.9" or found in addresses(nodes.profile)
    back = spares.with_own_nodes(nodes.profile)
    assert labels(back) == (["a", "b", "c"], ["s"], {})
    assert back.logical_size == start.world_size
    assert back.master == start.master


def names(nodes: replacing.Nodes) -> list[str]:
    return [node.label for node in nodes.profile.nodes]


def addresses(found: Profile) -> set[str]:
    return {node.address for node in found.nodes}


def test_a_spare_comes_first_then_fewer_nodes_and_the_last_node_stays() -> None:
    start = profile(PROFILE.replace('"spare"', '"shrink"')).model_copy(
        update={"spares": profile().spares[:1]}
    )
    one = replacing.Nodes(start).without("a", "away", 1, is_reached=False)
    assert one is not None
    two = one.without("b", "away", 1, is_reached=False)
    assert two is not None
    assert [type(event) for event in two.changes] == [e.NodeReplaced, e.NodeLeftOut]
    assert two.words == "with s in the place of a, without b: 2 ranks instead of 4"
    assert two.new == {"s"}
    assert two.without("s", "away", 1, is_reached=False) is None


@pytest.mark.parametrize("ranks", range(1, 9))
@pytest.mark.parametrize("logical_size", [8, 9, 64])
def test_logical_ranks_are_divided_evenly_each_once(ranks: int, logical_size: int) -> None:
    parts = [logical.carried_by(rank, ranks, logical_size) for rank in range(ranks)]
    assert sorted(itertools.chain(*parts)) == list(range(logical_size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_plan_gives_each_rank_its_logical_ranks_under_the_trainers_names() -> None:
    from effnet.distributed import logical as trainers

    def variables(found: Profile) -> list[tuple[str | None, str | None]]:
        made = make_plan(found, RunContext("r", "/runs/r", master_port=9000))
        assert made.logical_size == 4
        return [
            (rank.environment.get(trainers.RANKS), rank.environment.get(trainers.SIZE))
            for rank in made.ranks
        ]

    whole = profile(SHRINK)
    assert variables(whole) == [(None, None)] * 4
    assert variables(spares.without_node(whole, "a")) == [("0,2", "4"), ("1,3", "4")]


def test_a_node_without_a_successor_is_known_and_said() -> None:
    left = e.NodeLeftOut(1, "b", "away", is_reached=False)
    begun = (CREATED, e.AttemptStarted(1, 4), AWAY, *failed(1, FailureKind.NODE, "b")[1:], left)
    state = state_of(*begun, e.AttemptStarted(2, 2, logical_size=4), e.TrainingStarted(2))
    assert state.left_out["b"].words == "the run continues without b, which does not answer"
    assert state.attempt is not None
    assert state.attempt.fewer_words == "trains with 2 ranks instead of 4"
    assert state.attempts[0].fewer_words == ""


def test_a_spare_without_a_successor_has_no_place_any_more() -> None:
    replaced = e.NodeReplaced(1, "b", "s", "away", is_reached=False)
    left = e.NodeLeftOut(2, "s", "away", is_reached=False)
    again = failed(2, FailureKind.NODE, "s")
    state = state_of(CREATED, *failed(1, FailureKind.NODE, "b"), replaced, *again, left)
    assert [item.spare for item in state.left_out.values()] == ["", ""]


def test_a_plan_and_the_events_say_that_fewer_ranks_carry_all() -> None:
    fewer = spares.without_node(profile(SHRINK), "a")
    console = Console(file=io.StringIO(), width=200)
    print_plan(make_plan(fewer, RunContext("r", "/runs/r", master_port=9000)), console)
    print_spares(profile(SHRINK), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "p: 2 ranks that carry 4, CPU, cluster" in shown
    assert "a node that fails is left out: the others carry its ranks (retry.nodes)" in shown
    begun = {"kind": "attempt_started", "attempt": 2, "world_size": 2, "resume": None}
    assert "2 ranks that carry 4, from" in event_text({**begun, "logical_size": 4})
    assert "2 ranks, from" in event_text(begun)
    left = {"kind": "node_left_out", "attempt": 1, "node": "a", "why": "away"}
    assert event_text(left).endswith("no node has the place of a after attempt 1: away")


def test_a_command_instead_of_the_trainer_is_refused() -> None:
    with pytest.raises(UsageError, match="only the bundled trainer"):
        program.with_command(profile(SHRINK), ["python", "train.py"])
    assert program.with_command(profile(), ["python", "train.py"]).program is not None
