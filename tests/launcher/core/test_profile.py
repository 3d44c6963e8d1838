"""Profiles: what is right, and every error at once."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext, plan_from_json
from launcher.core.profile import load
from launcher.core.profile.address import parse_cpus
from launcher.core.profile.launch import Launch
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.profile.model import (
    Checkpoint,
    DeviceSlot,
    Limits,
    Logs,
    Master,
    Mpirun,
    Node,
    Notify,
    Profile,
    Retry,
)
from launcher.errors import LaunchError, ProfileError
from launcher.reading.profiles import list_profiles

GOOD = """
name = "two"
device_target = "CPU"
start_method = "cluster"
environment = { A = "1" }
[node_defaults]
user = "u"
slots = 2
environment = { B = "2", C = "3" }
[[nodes]]
address = "10.0.0.1"
[[nodes]]
address = "10.0.0.2"
slots = 3
environment = { C = "4" }
[trainer]
lr_max = 0.1
"""


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        load_profile(text, "p.toml")
    return caught.value.problems


def test_node_defaults_are_merged() -> None:
    profile = load_profile(GOOD, "p.toml")
    assert profile.world_size == 5
    assert [node.user for node in profile.nodes] == ["u", "u"]
    assert profile.nodes[1].environment == {"B": "2", "C": "4"}
    assert not profile.nodes[0].is_local


def test_profiles_come_back_from_the_run_directory() -> None:
    profile = load_profile(GOOD, "p.toml")
    assert profile_from_json(profile.to_json()) == profile


def test_all_errors_are_reported_at_once_with_key_expectation_and_nearest_name() -> None:
    found = "\n".join(
        problems_of(
            """
name = "a b"
device_target = "Asend"
start_method = "ranktable"
launching = 3
[[nodes]]
adress = "a"
slots = "2"
cpus = "3-1"
[node_defaults]
usr = "x"
[limits]
term = 1
launch_s = "long"
[master]
address = "host"
port = 80
[trainer]
resume = "auto"
nested = { a = 1 }
"""
        )
    )
    for part in (
        "p.toml: name: ",
        "p.toml: device_target: 'CPU', 'GPU' or 'Ascend', not 'Asend'; did you mean 'Ascend'?",
        "p.toml: launching: no such key",
        "p.toml: nodes[0].address: missing required key",
        "p.toml: nodes[0].adress: no such key; did you mean 'address'?",
        "p.toml: nodes[0].slots: a whole number, not '2'",
        "p.toml: nodes[0].cpus: a range from low to high",
        "p.toml: node_defaults.usr: no such key; did you mean 'user'?",
        "p.toml: limits.term: no such key; did you mean 'term_s'?",
        "p.toml: limits.launch_s: a number, not 'long'",
        "p.toml: master.address: an IP address, not the name 'host'",
        "p.toml: master.port: 1024 to 65535",
        "p.toml: trainer.resume: set by the launcher",
        "p.toml: trainer.nested: a string, a number",
    ):
        assert part in found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"10.0.0.2"', '"10.0.0.1"'), "is repeated"),
        (('"10.0.0.2"', '"localhost"'), "an address that the other nodes reach"),
        (('"cluster"', '"ranktable"'), "cluster or mpirun: a rank table is for Ascend"),
        (("slots = 3", "slots = 3\ndevices = [{device_id = 1}, {device_id = 1}]"), "is repeated"),
        (("slots = 3", "slots = 0"), "the number of ranks on this node"),
        (("slots = 3", 'devices = [{device_id = 0, device_ip = "x"}]'), "an IP address, not 'x'"),
    ],
)
def test_errors_of_a_profile_as_a_whole(change: tuple[str, str], expected: str) -> None:
    assert expected in "\n".join(problems_of(GOOD.replace(*change)))


def test_mpirun_does_not_reach_nodes_through_the_ssh_program() -> None:
    text = GOOD.replace("[[nodes]]", '[[nodes]]\ntransport = "openssh"')
    assert {node.transport for node in load_profile(text, "p.toml").nodes} == {"openssh"}
    expected = "transport: ssh: mpirun needs the host keys"
    assert expected in "\n".join(problems_of(text.replace('"cluster"', '"mpirun"')))


def test_invalid_toml_is_one_error() -> None:
    (problem,) = problems_of("name = \n[x]\n")
    assert "line 1" in problem


def test_cpu_lists() -> None:
    assert parse_cpus("0-2,8,2") == (0, 1, 2, 8)
    assert parse_cpus("") == ()


def test_shipped_profiles_are_valid_and_can_be_planned_without_a_node() -> None:
    entries = [entry for entry in list_profiles() if not entry.own]
    assert {entry.name for entry in entries} == {
        "ascend-1x8",
        "ascend-2x8",
        "cpu-2-nodes-ssh",
        "gpu-1x8",
        "gpu-2x8-mpirun",
        "local-cpu",
        "local-cpu-8p",
    }
    for entry in entries:
        assert entry.errors == ()
        assert entry.profile is not None
        plan = make_plan(entry.profile, RunContext("r", "/runs/r"))
        assert len(plan.ranks) == plan.world_size == entry.profile.world_size
        assert plan_from_json(plan.to_json()) == plan
        assert entry.profile.description


_KEYS = sorted(Profile.model_fields)
_VALUES = st.recursive(
    st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*_KEYS, "node_defaults", "x"]), _VALUES),
    st.dictionaries(st.sampled_from(["address", "slots", "devices", "cpus", "port"]), _VALUES),
)
def test_values_of_any_kind_raise_nothing_else(
    top: dict[str, object], node: dict[str, object]
) -> None:
    raw = {**top, "nodes": [node, top.get("nodes")]} if "nodes" in top else dict(top)
    stand_in = mock.patch.object(load, "parse_toml", return_value=raw)
    with stand_in, contextlib.suppress(LaunchError):
        load_profile("", "p.toml")


def test_the_docs_name_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/profiles.md").read_text(encoding="utf-8")

    def names(model: type[BaseModel]) -> set[str]:
        return set(model.model_fields)

    tables = {"nodes", "master", "mpirun", "trainer", "limits", "retry", "checkpoint", "logs"}
    tables |= {"notify", "spares", "launch"}
    for table in tables:
        assert f"[{table}]" in text
    keys = names(Profile) - tables
    for model in (
        Node,
        DeviceSlot,
        Master,
        Mpirun,
        Launch,
        Limits,
        Retry,
        Checkpoint,
        Logs,
        Notify,
    ):
        keys |= names(model)
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_the_trainer_knows_every_key_of_profiles_that_ship() -> None:
    from effnet.config import TrainConfig

    known = {field.name for field in dataclasses.fields(TrainConfig)}
    for entry in list_profiles():
        if not entry.own and entry.profile is not None:
            assert set(entry.profile.trainer) <= known, entry.name
