"""Training settings that the trainer would refuse are found before any rank starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher import client
from launcher.cli.app import main
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.errors import SettingsError
from launcher.planning import settings
from launcher.store import run_lock

PROFILE = """\
name = "mine"
device_target = "CPU"
start_method = "cluster"
[[nodes]]
address = "127.0.0.1"
slots = 2
[trainer]
"""


def profile(trainer: str = "") -> Profile:
    return load_profile(PROFILE + trainer, "mine.toml")


def test_all_errors_have_their_place_and_the_nearest_key() -> None:
    bad = profile("epoch_sise = 3\nbatch_size = 0\nlr_max = [1, 2]\n")
    with pytest.raises(SettingsError) as raised:
        client.plan(
            bad,
            client.StartRequest(
                settings=(("varient", "b0"), ("seed", "x"), ("dataset_path", "/d"))
            ),
        )
    lines = raised.value.problems
    assert raised.value.exit_code == 2
    assert lines == (
        "--set dataset_path=/d: dataset_path is set by the launcher: use data_path",
        "profile mine, [trainer]: unknown key 'epoch_sise'; did you mean epoch_size?",
        "profile mine, [trainer]: batch_size: expected at least 1 images, got 0",
        "profile mine, [trainer]: lr_max: expected a number, got a list [1, 2]",
        "--set varient=b0: unknown key 'varient'; did you mean variant?",
        "--set seed=x: seed: expected a whole number, got 'x'",
    )


def test_contradictory_keys_are_found_with_the_targets_defaults() -> None:
    # 0.13 on Ascend, 0.002 on a CPU.
    sets = (("lr_init", "0.1"),)
    assert "lr_init (0.1) is above lr_max (0.002)" in settings.problems_of(profile(), sets)[0]
    assert settings.problems_of(profile(), (("lr_init", "0.001"), ("epochs", "3"))) == ()


def test_a_trainer_that_does_not_answer_reports_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.programs, "command", lambda program: ["/bin/true"])
    assert settings.problems_of(profile("epoch_sise = 3\n")) == ()


@pytest.mark.parametrize("command", [["plan"], ["start"], ["start", "--dry-run"]])
def test_nothing_is_written_or_started(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE + "epoch_sise = 3\n")
    assert _code(*command, str(file)) == 2
    assert "did you mean epoch_size?" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_profiles_check_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "mine.toml", tmp_path / "good.toml"
    bad.write_text(PROFILE + "epoch_sise = 3\n")
    good.write_text(PROFILE + "epoch_size = 3\n")
    assert _code("profiles", "check", str(bad), str(good)) == 2
    out, err = capsys.readouterr()
    assert f"{bad}, [trainer]: unknown key 'epoch_sise'" in err
    assert out == f"{good}: ok\n"


def test_a_resume_with_bad_settings_leaves_the_run_as_it_was(lab) -> None:
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not run_lock.is_supervised(root))
    before = {path: (root / path).read_bytes() for path in ("run.json", "events.jsonl")}
    for action in (client.resume, client.resume_choice):
        with pytest.raises(SettingsError, match="did you mean epoch_size"):
            action(root, client.ResumeRequest(settings=(("epoch_sise", "9"),)))
    assert {path: (root / path).read_bytes() for path in before} == before
    assert os.listdir(root / "attempts") == ["001"]
    assert _code("resume", root.name, "--set", "epoch_sise=9", "--dry-run") == 2
    assert client.resume_choice(root, client.ResumeRequest(settings=(("seed", "9"),))).step == 10


def _code(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["effnet-launch", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
    return int(left.value.code or 0)
