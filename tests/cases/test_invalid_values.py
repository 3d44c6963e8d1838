"""Invalid bytes and numbers in files and in other programs' output: an error with its place."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from effnet.config.toml import parse as parse_toml
from effnet.config.values import ConfigError
from launcher.cli.output.follow import print_event
from launcher.core.devices import nvidia_smi
from launcher.core.plan.model import plan_from_json
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.text.numbers import whole_number
from launcher.errors import LaunchError, PlanError, ProfileError
from launcher.reading.profiles import find_profile
from launcher.store import run as stored
from tui.settings import load as load_settings

FUZZ = Path(__file__).parent / "inputs/fuzz"
HUGE = "9" * 5000


@pytest.mark.parametrize(
    "line",
    [
        (FUZZ / "nvidia-ValueError-26097f").read_text(),
        (FUZZ / "nvidia-ValueError-620ecc").read_text(),
        "²,GPU-1,H100,550,0,9.0",
        f"{HUGE},GPU-1,H100,550,{HUGE},9.0",
        "٣,GPU-1,H100,550,²,²",
        "0,GPU-1,H100,550,²,²",
        "GPU-1,²,python,²",
        f"GPU-1,{HUGE},python,{HUGE}",
    ],
)
def test_fuzz_nvidia_smi(line: str) -> None:
    found = nvidia_smi.parse(line, line)
    assert all(device.device_id == 0 for device in found.devices)


def test_whole_numbers() -> None:
    assert [whole_number(text) for text in ("0", "007", "12")] == [0, 7, 12]
    assert not any(whole_number(text) for text in ("", "-1", "²", "٣", "1_0", " 1", HUGE))


def lines_of_events() -> list[bytes]:
    event = (FUZZ / "event_text-OverflowError-051f78").read_bytes()
    return [
        event,
        b'{"kind": "epoch_finished", "epoch": 1, "avg_loss": 1e999}',
        b'{"kind": "checkpoint_saved", "step": 1, "bytes": %s}' % (b"9" * 400),
        b'{"kind": "x", "t": %s}' % (b"9" * 400),
        b'{"kind": "x", "t": 1e300}',
        b'{"kind": "x", "t": "soon"}',
        b'{"kind": "rank_exited", "rank": 1, "node": "n", "failure": 7}',
        b'{"kind": "attempt_failed", "failure": 7}',
        b"[1]",
        b"[" * 100_000,
        b"\xff\xfe",
        HUGE.encode(),
    ]


@pytest.mark.parametrize("index", range(12))
def test_fuzz_events_are_printed_or_left_out(index: int) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_event(lines_of_events()[index], console)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    root.mkdir()
    info = {"id": "r", "profile": "p", "created": 1.0, "world_size": 2}
    (root / "run.json").write_text(json.dumps(info))
    (root / "profile.json").write_text(find_profile("local-cpu").to_json())
    return root


BAD = {
    "bad UTF-8": b'{"name": "\xff\xfe"}',
    "a number of 5,000 digits": b'{"created": %s}' % HUGE.encode(),
    "nested": b"[" * 100_000,
    "nothing": b"",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["run.json", "profile.json"])
def test_fuzz_run_files(run: Path, name: str, bad: bytes) -> None:
    (run / name).write_bytes(bad)
    with pytest.raises(LaunchError) as caught:
        stored.load(run)
    assert str(run / name) in str(caught.value)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_plans_and_profiles(bad: bytes) -> None:
    with pytest.raises(PlanError):
        plan_from_json(bad)
    with pytest.raises(ProfileError):
        profile_from_json(bad)


@pytest.mark.parametrize("text", [f"refresh = {HUGE}", "a = " + "[" * 100_000, "\x00"])
def test_settings_and_profiles_and_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    _, (problem,) = load_settings(path)
    assert problem.startswith(str(path))
    with pytest.raises(ProfileError):
        load_profile(text, "p.toml")
    with pytest.raises(ConfigError):
        parse_toml(text, "c.toml")


def test_settings_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"theme = '\xff'")
    _, (problem,) = load_settings(path)
    assert str(path) in problem
