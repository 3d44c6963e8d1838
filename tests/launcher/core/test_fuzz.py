"""Damaged files and lines: every parser gets real ones with pieces cut, doubled, swapped or spoilt,
and text of any kind, and raises nothing but the error that it promises.

JSON of any shape is in the tests of each parser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.devices import hccn
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import Plan, RunContext, plan_from_json
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.run import events, fold, heartbeat
from launcher.core.run.checkpoints import parse_manifest
from launcher.core.run.info import parse_run_info
from launcher.core.run.metrics import unpack, unpack_devices, unpack_loads
from launcher.core.run.report import parse
from launcher.core.run.state import RunState
from launcher.core.tables.hostfile import lint_hostfile, slots_of
from launcher.core.tables.rank_table import parse_rank_table
from launcher.core.tables.rank_table_lint import lint_text
from launcher.core.text.codec import Mismatch, from_plain
from launcher.errors import LaunchError, RankTableError
from launcher.reading.profiles import list_profiles
from tests.cases.hostfiles import RefusedError, parse_hostfile

ROOT = Path(__file__).parents[3]
PROFILES = [path.read_text() for path in sorted((ROOT / "cluster_profiles").glob("*.toml"))]
LOADED = [entry.profile for entry in list_profiles() if not entry.own and entry.profile]
PLANS = [make_plan(profile, RunContext("r", "/runs/r")).to_json() for profile in LOADED[:3]]
TABLES = [path.read_text() for path in sorted((ROOT / "tests/launcher/golden").glob("*.json"))]
REPORTS = [
    line.strip()
    for line in (ROOT / "docs/report-format.md").read_text("utf-8").splitlines()
    if line.startswith("    ")
]
HOSTFILES = [
    "# c\n10.0.0.1 slots=8 max-slots=9\nme@beta slots=2 port=22 // x\n^gamma\n+n0\n/* a */\n"
]
FAILURE = events.Failure(events.FailureKind.OOM, "no memory", rank=1, node="b", followers=(0,))
EVENTS = [
    events.to_json(event)
    for event in (
        events.RunCreated("r", "p", 2, n=1, t=0.5),
        events.AttemptStarted(
            1, 2, events.StartCheckpoint("/a.ckpt", 1, 45, "newest", 3), n=2, t=1.5
        ),
        events.RankStarted(1, 0, "n", 0, 0, 10, n=3, t=1.6),
        events.TrainingStarted(1, 20, 45, n=4, t=2.0),
        events.CheckpointWritten(1, 1, 45, "/x", 5, "ab", n=5, t=2.5),
        events.RankSilent(1, 0, "n", "data", 12.0, n=6, t=2.6),
        events.StopRequested("me", True, n=7, t=2.7),
        events.JobStarted("001-eval", "eval", "n", ("a", "b c"), n=8, t=2.8),
        events.JobFinished("001-eval", 0, {"top_1_acc": 0.5, "list": [1, None]}, n=9, t=2.9),
        events.AttemptFailed(1, FAILURE, n=10, t=3.0),
        events.AttemptStopped(1, 7, (3, 4), n=11, t=3.1),
        events.StacksTaken(1, 1, "rank 0 is silent", "rank 0 is in a.py:3 (f)", (0,), n=12, t=3.2),
    )
]
MANIFEST = (
    '{"sha256": "ab", "bytes": 5, "epoch": 1, "step": 45, "created": 1.5, "config": {"a": 1}}'
)
INFO = '{"id": "r", "profile": "p", "created": 1.5, "world_size": 2, "versions": {"a": "1"}}'
BEAT = "1 1766500000.123456 compute 97 2 4242".ljust(127) + "\n"
HCCN = "address_0=192.168.100.101\nnetmask_0=255.255.255.0\naddress_1=192.168.100.102\n"
SPOILS = [
    "\0",
    "\n",
    '"',
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    ":",
    "-1",
    "1e999",
    "9" * 40,
    "é",
    "\ud800",
]


@st.composite
def damaged(draw: st.DrawFn, examples: list[str]) -> str:
    """One of the examples, or any text, after up to six edits."""
    text = draw(st.sampled_from(examples) | st.sampled_from(examples) | st.text(max_size=60))
    for _ in range(draw(st.integers(0, 6))):
        first = draw(st.integers(0, len(text)))
        last = min(len(text), first + draw(st.sampled_from([0, 1, 1, 3, 20, 200])))
        piece = text[first:last]
        new = draw(st.sampled_from(["", piece * 2, piece[::-1], *SPOILS]))
        text = text[:first] + new + text[last:]
    return text


def damaged_bytes(examples: list[str]) -> st.SearchStrategy[bytes]:
    return damaged(examples).map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(damaged(PROFILES))
def test_profiles(text: str) -> None:
    with contextlib.suppress(LaunchError):
        profile = load_profile(text, "p.toml")
        # What is a profile can be planned, or there is a reason that a person can read.
        make_plan(profile, RunContext("r", "/runs/r"))


@settings(max_examples=60, deadline=None)
@given(damaged([profile.to_json() for profile in LOADED]))
def test_profiles_of_run_directories(text: str) -> None:
    with contextlib.suppress(LaunchError):
        profile_from_json(text)
    with pytest.raises(LaunchError, match="Invalid JSON"):
        profile_from_json("{")


@settings(max_examples=60, deadline=None)
@given(damaged(PLANS))
def test_plans(text: str) -> None:
    with contextlib.suppress(LaunchError):
        assert isinstance(plan_from_json(text), Plan)


@settings(max_examples=200, deadline=None)
@given(damaged_bytes(TABLES))
def test_rank_tables(data: bytes) -> None:
    lint_text(data)
    with contextlib.suppress(RankTableError):
        table = parse_rank_table(data)
        assert parse_rank_table(table.to_json()) == table


def test_endless_nesting() -> None:
    assert lint_text("[" * 100_000) != ()
    with pytest.raises(LaunchError):
        plan_from_json("[" * 100_000)


@settings(max_examples=200, deadline=None)
@given(damaged(HOSTFILES), st.sampled_from([4, 5]))
def test_hostfiles(text: str, version: int) -> None:
    lint_hostfile(text, version, 8)
    with contextlib.suppress(RefusedError):
        slots_of(parse_hostfile(text))


@settings(max_examples=200, deadline=None)
@given(damaged(REPORTS))
def test_report_lines(line: str) -> None:
    parse(line)
    parse(line.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None)
@given(st.lists(damaged_bytes(EVENTS) | st.sampled_from([e.encode() for e in EVENTS]), max_size=12))
def test_event_files(lines: list[bytes]) -> None:
    """The fold takes whatever is in the file, and says what it skipped."""
    found = [events.parse_event(line) for line in b"\n".join(lines).split(b"\n")]
    folded = reduce(fold.apply, found, RunState())
    assert folded.skipped >= found.count(None)


@pytest.mark.parametrize(
    ("parser", "example"),
    [
        (parse_manifest, MANIFEST),
        (parse_run_info, INFO),
        (heartbeat.parse_heartbeat, BEAT),
        (unpack, BEAT),
        (unpack_devices, BEAT),
        (unpack_loads, BEAT),
    ],
)
def test_small_files(parser: Callable[[bytes], Any], example: str) -> None:
    @settings(max_examples=100, deadline=None)
    @given(damaged_bytes([example]))
    def check(data: bytes) -> None:
        parser(data)

    parser(example.encode())
    parser(b"[" * 100_000)
    check()


@settings(max_examples=100, deadline=None)
@given(damaged([HCCN, "ipaddr:192.168.1.1\nnetmask:255.255.0.0\n", "net health status: Success\n"]))
def test_output_of_ascend_tools(text: str) -> None:
    hccn.parse_hccn_conf(text)
    hccn.parse_tool_ip(text)
    hccn.parse_health(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(_JSON)
def test_parts_of_any_shape(data: Any) -> None:
    """Commands to an agent are decoded by this."""
    with pytest.raises(Mismatch):
        from_plain(Plan, data)
