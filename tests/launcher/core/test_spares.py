"""Spares: which profiles may have them, and where a spare, a node and the master are then."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.core.checks.row import Row, RowState, expected, of_spare
from launcher.core.profile import spares
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run import events as e
from launcher.core.run.events import Event, Failure, FailureKind
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.errors import ProfileError
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
    "shrink": (PROFILE.replace('"spare"', '"shrink"'), "retry.nodes"),
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
    same = profile(NO_SPARES)
    assert not replacing.nodes_to_leave(same, state)


def test_too_few_spares_replace_nothing() -> None:
    away = [dataclasses.replace(AWAY, node=node) for node in NODES]
    state = state_of(CREATED, e.AttemptStarted(1, 4), *away, *failed(1, FailureKind.NODE, "b")[1:])
    nodes = replacing.without_all(profile(), state)
    assert nodes is not None
    assert nodes.words == "s in the place of a, t in the place of b"
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
