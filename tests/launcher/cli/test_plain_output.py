"""No text output has raw values: None, Python's containers and enums, unrounded numbers, blanks.

All commands that read are run over whole, partial, odd and damaged runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import random
import re
import shutil
import sys
import tarfile
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import launcher.cli.app
import tui.__main__
from launcher import client
from launcher.cli.output import follow
from launcher.cli.output.console import failure_card
from launcher.cli.output.copying import copied_text
from launcher.core.diagnosis import event_text
from launcher.core.run import events
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.info import RunInfo
from launcher.errors import LaunchError
from tests.damage import damaged_frames

ROOT = Path(__file__).parents[3]
FUZZ = ROOT / "tests/cases/inputs/fuzz"
NOW = 1_766_500_000.0

RAW = {
    "a Python value": r"\b(?:None|True|False|nan|NaN|Infinity)\b",
    "a Python container": r"\{['}\"]|\[['\]\"]|\(\)|\(['\"]|'\w+': |\bb'",
    "a Python object": r"<\w[\w.]* object|<\w+\.\w+:",
    "the name of an enum": r"\b[A-Z][a-z]\w*\.[A-Z][A-Z_]+\b",
    "an unrounded number": r"(?<![\w.])\d+\.\d{6,}",
    "an exponent of Python": r"\d(?:e\+\d|e-0\d)",
    "nothing where a value belongs": r"\w [,;:](?:\s|$)|[,;=] *(?:$|,)|^ *: ",
    "a name without its value": r"(?<![-/\w])(?:rank|node|on|step|code|signal|epoch) *(?:$|[,;:])",
    "decimal units": r"\d ?(?:kB|MB|GB|TB)\b",
    "a percentage without its space": r"\d%",
    "milliseconds of many seconds": r"\b\d{5,}(?:\.\d+)? ms",
}
"""What no line may have."""


def unindented(text: str) -> str:
    """Without commands and contents of files, which a plan shows as they are."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("  "))


def raw_values(text: str) -> list[str]:
    return [
        f"{what}: {line}"
        for line in text.splitlines()
        for what, pattern in RAW.items()
        if re.search(pattern, line)
    ]


# Runs


def write_run(root: Path, lines: list[dict[str, Any] | bytes], info: RunInfo | None = None) -> Path:
    """A run directory with these events; their numbers and times are added."""
    root.mkdir(parents=True)
    info = info or RunInfo(root.name, "local-cpu", NOW, 2)
    (root / "run.json").write_text(info.to_json())
    (root / "profile.json").write_text(client.find_profile("local-cpu").to_json())
    with (root / "events.jsonl").open("wb") as file:
        for number, line in enumerate(lines, 1):
            if not isinstance(line, bytes):
                line = json.dumps({"n": number, "t": NOW + number, **line}).encode()
            file.write(line + b"\n")
    return root


def plain(event: events.Event) -> dict[str, Any]:
    return {k: v for k, v in json.loads(events.to_json(event)).items() if k not in ("n", "t")}


def least(cls: type[Any]) -> Any:
    """The record with as little in it as its type allows: None, 0, and empty text."""
    hints = typing.get_type_hints(cls)
    made: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in ("n", "t") or field.default is not dataclasses.MISSING:
            continue
        hint = hints[field.name]
        if type(None) in typing.get_args(hint):
            made[field.name] = None
        elif hint is events.Failure:
            made[field.name] = events.Failure(events.FailureKind.CRASH, "it is gone")
        else:
            made[field.name] = {int: 1, str: "x"}.get(hint)
    return cls(**made)


START = [
    {"kind": "run_created", "run": "r", "profile": "local-cpu", "world_size": 2},
    {"kind": "attempt_started", "attempt": 1, "world_size": 2, "resume": None},
    {
        "kind": "rank_started",
        "attempt": 1,
        "rank": 0,
        "node": "node-a",
        "local_rank": 0,
        "device": None,
        "pid": 1,
        "start_time": 1.0,
    },
    {"kind": "training_started", "attempt": 1, "epochs": None, "steps_per_epoch": None},
]
RESULT = {
    "top_1_acc": 0.123456789,
    "relative_difference": 5.81e-07,
    "max": 62770000.0,
    "bytes": 16357785,
    "ok": True,
    "why": None,
    "by_class": {"a": [1, 2], "b": None},
    "all": [],
}
FAILURE = {"kind": "crash", "meaning": "it is gone"}
UNKNOWN = [
    {"kind": "rank_exited", "attempt": 1, "rank": 0, "node": "node-a"},
    {"kind": "attempt_failed", "attempt": 1, "failure": FAILURE},
]
ODD: dict[str, list[dict[str, Any] | bytes]] = {
    "no events": [],
    "created": START[:1],
    "started": START[:2],
    "one rank of two": START[:3],
    "no lengths": START,
    "unknown end": [*START, *UNKNOWN],
    "no first rank": [*START, {**UNKNOWN[1], "failure": {**FAILURE, "node": "", "rank": None}}],
    "stopped": [
        *START,
        {"kind": "stop_requested", "by": "me", "save": False},
        UNKNOWN[0],
        {"kind": "attempt_stopped", "attempt": 1, "step": None, "leftover": []},
    ],
    "a node is away": [*START, {"kind": "node_unreachable", "attempt": 1, "node": "node-a"}],
    "least": [
        *START,
        *(plain(least(cls)) for cls in events.Event.kinds.values() if cls is not events.RunCreated),
    ],
    "jobs": [
        *START,
        *[
            {"kind": "job_started", "job": f"00{number}-eval", "type": "eval", "argv": []}
            for number in (1, 2)
        ],
        {"kind": "job_finished", "job": "001-eval", "exit_code": None, "result": RESULT},
        {"kind": "eval_finished", "job": "001-eval", "top_1_acc": 0.123456789, "loss": 62770000.0},
        {"kind": "checkpoint_saved", "attempt": 1, "epoch": 1, "step": 3, "path": "/x/y"},
    ],
}


def odd_runs(folder: Path) -> Iterator[Path]:
    for name, lines in ODD.items():
        yield write_run(folder / name.replace(" ", "-"), list(lines))
    samples = [
        json.dumps({"n": 1, "t": NOW, **line}).encode() for line in ODD["least"] + ODD["jobs"]
    ]  # type: ignore[dict-item]
    for seed in range(20):
        yield write_run(folder / f"damaged-{seed}", [*damaged_frames(samples, 40, seed)])
    packed = [ROOT / "tui/demo/run.tar.gz", ROOT / "tests/launcher/fixtures/run-0.1.0.tar.gz"]
    for number, path in enumerate(packed):
        with tarfile.open(path) as file:
            into = folder / f"packed-{number}"
            file.extractall(into, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
        yield from (found.parent for found in into.rglob("run.json"))
    for path in FUZZ.glob("run-*"):
        yield Path(shutil.copytree(path, folder / path.name))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return list(odd_runs(tmp_path_factory.mktemp("runs")))


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path / "profiles"))
    monkeypatch.setenv("COLUMNS", "400")


def output(*words: str) -> str:
    """stdout and stderr of `effnet-launch`, and the text of an error."""
    done = CliRunner().invoke(launcher.cli.app.app, words)
    if isinstance(done.exception, LaunchError):
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            launcher.cli.app.report(done.exception)
        return done.output + shown.getvalue()
    assert done.exception is None or isinstance(done.exception, SystemExit), words
    return done.output


# Tests


@pytest.mark.parametrize(
    "text",
    [
        "rank None", "exit code None", "6.277e+04 ms", "{'a': 1}", "master , port a free one",
        "RunStatus.FAILED", "loss 0.123456789", "step 62770 ms", "copied: 1.1 MB", "23% late",
        "rank ", "failed on :", "leftover []", "max 3.1e-05", "at=", "(), 3",
    ],
)  # fmt: skip
def test_raw_values_are_recognised(text: str) -> None:
    assert raw_values(text)


def test_what_reads_runs_prints_no_raw_values(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for run in runs:
        for words in (
            ("status", str(run)),
            ("events", str(run)),
            ("resume", str(run), "--dry-run"),
            ("logs", str(run), "--job", "nosuch"),
        ):
            found += [f"{words[0]} {run.name}: {line}" for line in raw_values(output(*words))]
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            tui.__main__.main(["--once", str(run)])
        found += [f"--once {run.name}: {line}" for line in raw_values(shown.getvalue())]
    for folder in {run.parent for run in runs}:
        monkeypatch.setenv("EFFNET_RUNS_DIR", str(folder))
        found += [f"runs: {line}" for line in raw_values(output("runs", "--limit", "0"))]
    assert not found, "\n".join(found)


def test_what_reads_profiles_and_files_prints_no_raw_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "hosts").write_text("localhost slots=x\na slots=2\n\na\n")
    (tmp_path / "table").write_text('{"version": null, "server_list": [{}, {"device": [{}]}]}')
    commands = [("plan", entry.name) for entry in client.list_profiles() if entry.profile]
    commands += [("hostfile", "lint", str(tmp_path / "hosts"))]
    commands += [("ranktable", "lint", str(tmp_path / "table"))]
    commands += [("profiles", "list"), ("profiles", "check"), ("doctor", "--target", "CPU")]
    commands += [("preflight", "local-cpu"), ("clean", "--here"), ("prune", "--here")]
    commands += [("status", "nosuch"), ("plan", "nosuch"), ("eval", "nosuch")]
    assert len(commands) > 15
    found = [
        f"{' '.join(words)}: {line}"
        for words in commands
        for line in raw_values(unindented(output(*words)))
    ]
    assert not found, "\n".join(found)


def card(failure: events.Failure) -> str:
    from launcher.cli.output.console import SafeConsole

    console = SafeConsole(file=io.StringIO(), width=200)
    console.print(failure_card(failure, "r"))
    return console.file.getvalue()


def test_events_of_any_shape_have_no_raw_values() -> None:
    chance = random.Random(1)
    values: tuple[Any, ...] = (
        None, True, 1e-05, 1e30, 0.1234567, [], {}, [None], {"a": {}}, -1, 10**400, "x", [[1, "a"]],
    )  # fmt: skip
    kinds: Mapping[str, Any] = events.Event.kinds
    found = []
    for _ in range(3000):
        kind = chance.choice(sorted(kinds))
        event: dict[str, Any] = {"kind": kind}
        for field in dataclasses.fields(kinds[kind]):
            event[field.name] = chance.choice(values)
        found += raw_values(event_text.event_text(event))
    assert not found, "\n".join(found)


def test_a_failure_names_rank_and_signal_once() -> None:
    meaning = "rank 5: killed (SIGKILL): probably the OOM killer"
    failure = events.Failure(events.FailureKind.SIGNAL, meaning, "", 5, "node-b", None, 9)
    text = card(failure)
    assert raw_values(text) == []
    assert text.count("rank 5") == 1
    assert "signal 9" not in text
    assert "node-b" in text


@pytest.mark.parametrize("is_dry_run", [False, True])
@pytest.mark.parametrize("copied", [None, 0, 3_400_000])
def test_a_copy_has_its_size_in_binary_units(is_dry_run: bool, copied: int | None) -> None:
    choice = ResumeChoice("/x", "newest", 1, 2, 3, copied_from="a", copied_to="b")
    choice = dataclasses.replace(choice, copied_bytes=copied or 0)
    assert raw_values(copied_text(choice, is_dry_run)) == []


def test_a_node_that_does_not_answer_marks_its_ranks(tmp_path: Path) -> None:
    away = {"kind": "node_unreachable", "attempt": 1, "node": "node-a", "silent_s": 2.0}
    reader = client.open_run(str(write_run(tmp_path / "r", [*START, away])))
    snapshot = reader.poll(NOW + 13)
    # The event's time is NOW + 5.
    assert snapshot.unreachable == {"node-a": NOW + 3}
    assert [rank.is_stale for rank in snapshot.ranks] == [True, False]
    console = follow.Console(file=io.StringIO(), width=200)
    console.print(follow.picture(snapshot))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "node node-a has not answered for 10 s" in text
    row = next(line for line in text.splitlines() if " node-a " in line)
    assert row.split()[2:4] == ["no", "answer"]
    words = ["status", str(tmp_path / "r"), "--json"]
    printed = json.loads(CliRunner().invoke(launcher.cli.app.app, words).stdout)
    assert (printed["unreachable"], printed["ranks"][0]["is_stale"]) == ({"node-a": NOW + 3}, True)


def test_in_a_stopped_run_no_rank_has_failed(tmp_path: Path) -> None:
    reader = client.open_run(str(write_run(tmp_path / "r", list(ODD["stopped"]))))
    assert reader.poll().ranks[0].status == "stopped"
