"""Hostfiles: written, read back, linted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.profile.model import Node
from launcher.core.profile.placement import place_nodes
from launcher.core.tables.hostfile import (
    lint_hostfile,
    make_hostfile,
    slots_of,
)
from launcher.core.tables.hostfile_reader import HostLine
from tests.cases.hostfiles import RefusedError, parse_hostfile


@given(
    st.lists(st.integers(1, 250), min_size=1, max_size=6, unique=True),
    st.integers(1, 16),
    st.sampled_from([4, 5]),
)
def test_hostfiles_that_we_make_come_back(hosts: list[int], slots: int, version: int) -> None:
    nodes = [Node(address=f"10.0.0.{host}", slots=slots) for host in hosts]
    text = make_hostfile(place_nodes(nodes))
    parsed = parse_hostfile(text)
    assert [line.host for line in parsed] == [node.address for node in nodes]
    assert slots_of(parsed) == {node.address: slots for node in nodes}
    assert lint_hostfile(text, version, ranks=slots * len(hosts)) == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("alpha", HostLine("alpha")),
        ("alpha slots=4", HostLine("alpha", 4)),
        ("alpha  cpu = 4  max-slots=8 # c", HostLine("alpha", 4, 8)),
        ("me@alpha slots_max=9 port=2222 // c", HostLine("alpha", None, 9, "me", 2222)),
        ('alpha count=2 username="you"', HostLine("alpha", 2, None, "you")),
        ("^alpha", HostLine("alpha", is_excluded=True)),
        ("10.0.0.1 slots=1", HostLine("10.0.0.1", 1)),
        ("fe80::1 slots=1", HostLine("fe80::1", 1)),
        ("+n0", HostLine("+n0", is_relative=True)),
        ("+e:2", HostLine("+e:2", is_relative=True)),
    ],
)
def test_the_grammar(line: str, expected: HostLine) -> None:
    (found,) = parse_hostfile(f"# head\n/* a\n b */\n{line}\n\n")
    assert found == HostLine(**{**expected.__dict__, "line": 4})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("alpha slots", "expected = after it"),
        ("alpha slots=four", "expected a number"),
        ("alpha SLOTS=4", "in lower case"),
        ("alpha Cpu=4 max_slots=5", "in lower case"),
        ("alpha lots=4", "unknown key"),
        ("alpha slots=2\r", "Unix line ends"),
        ("\ralpha", "Unix line ends"),
        ("alpha slot=4", "'slot' is not key=value"),
        ("alpha cpus=4", "unknown key"),
        ("alpha slots=", "expected a number"),
        ("alpha slots=2 slots=3", "given twice"),
        ("alpha slots+=2", "--add-hostfile only"),
        ("alpha gpus=2", "unknown key"),
        ("alpha slots=4 max_slots=2", "less than"),
        ("al!pha", "'!' is not key=value"),
        ("^alpha slots=1", "is not a host"),
        ("a/b slots=1", "'/'"),
    ],
)
def test_hosts_that_openmpi_refuses(line: str, expected: str) -> None:
    first, second = lint_hostfile(f"beta slots=2\n{line}\nga!ma\n")[:2]
    assert first.is_error
    assert expected in first.text
    assert (first.where, second.where) == ("line 2", "line 3")


@pytest.mark.parametrize("version", [4, 5])
def test_a_host_that_is_listed_twice(version: int) -> None:
    for text in ("alpha slots=2\nalpha slots=3\n", "alpha\nalpha slots=2\n"):
        with pytest.raises(RefusedError):
            parse_hostfile(text)
    assert slots_of(parse_hostfile("alpha slots=2\nalpha\nalpha\n")) == {"alpha": 4}
    assert slots_of(parse_hostfile("alpha\nalpha\nbeta\n")) == {"alpha": 2, "beta": None}
    assert slots_of(parse_hostfile("alpha max_slots=4\nalpha\n")) == {"alpha": 5}
    (warning,) = lint_hostfile("alpha slots=2\nalpha\n", version)[:1]
    assert "adds one slot" in warning.text


def test_names_that_differ_only_in_their_domain() -> None:
    text = "gpu.rack1.lan slots=2\ngpu.rack2.lan slots=2\n"
    (found,) = lint_hostfile(text, 4)
    assert "are one host, 'gpu'" in found.text
    assert lint_hostfile(text, 4, keep_fqdn=True) == ()
    bare = lint_hostfile("w.1.net\nw.2.net\n")
    assert any("drops the domain" in finding.text for finding in bare)


def test_advice() -> None:
    found = "\n".join(map(str, lint_hostfile("localhost slots=2\nalpha\n")))
    assert "warning: line 2: alpha has no slots" in found
    assert "error: line 1: localhost: on each machine this is the machine itself" in found
    assert "2 slots for 4 ranks" in str(lint_hostfile("alpha slots=2\n", ranks=4)[0])
    assert "no host" in str(lint_hostfile("# nothing\n")[0])
