"""The checkpoint that a run begins with: checked on each node before a start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.checks.preflight import with_settings
from launcher.core.checks.expected import checks_of
from launcher.core.checks.facts import MachineFacts, Weights
from launcher.core.checks.joint_rules import joint_rows
from launcher.core.checks.questions import questions
from launcher.core.checks.row import Row, RowState
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.machine.weights import weights
from launcher.planning.attempt import settings_of

PROFILE = """\
name = "two"
device_target = "CPU"
start_method = "cluster"
data_path = "/data"
{node_1}
slots = 2
{node_2}
[trainer]
variant = "b0"
weights = "start.ckpt"
"""
LOCAL = PROFILE.format(node_1='[[nodes]]\naddress = "127.0.0.1"', node_2="")
FAR = PROFILE.format(
    node_1='[[nodes]]\nname = "alpha"\naddress = "10.0.0.1"',
    node_2='[[nodes]]\nname = "beta"\naddress = "10.0.0.2"\nslots = 2',
)


def loaded(text: str) -> Profile:
    return load_profile(text, "two.toml")


def row(alpha: Weights, beta: Weights) -> Row:
    """beta's row."""
    facts = {
        name: MachineFacts(name, "u", "/", "p", "3.11.7", {}, 0.0, weights=found)
        for name, found in (("alpha", alpha), ("beta", beta))
    }
    rows = joint_rows(loaded(FAR), "0.1.0", facts, {"alpha": 0.0, "beta": 0.0})
    return next(r for r in rows if r.check == "weights" and r.node == "beta")


def checkpoint(folder: Path, **changes: object) -> Path:
    path = folder / "start.ckpt"
    path.write_bytes(b"12345")
    manifest = {"variant": "b0", "num_classes": 7, "sha256": "ab", "bytes": 5, **changes}
    (folder / "start.ckpt.manifest.json").write_text(json.dumps(manifest))
    return path


def test_the_manifest_is_read_behind_a_link_and_from_the_working_directory(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    (tmp_path / "link.ckpt").symlink_to("start.ckpt")
    for path in (weights("start.ckpt", str(tmp_path)), weights(str(tmp_path / "link.ckpt"))):
        assert (path.problem, path.variant, path.class_count, path.sha256) == ("", "b0", 7, "ab")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"bytes": 6}, "has 5 bytes, its manifest says 6"), ({"variant": 2}, "is not the manifest")],
)
def test_a_file_that_is_not_the_manifests_is_reported(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    assert said in weights(str(checkpoint(tmp_path, **changes))).problem


def test_missing_and_damaged_files_are_reported(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    manifest = tmp_path / "start.ckpt.manifest.json"
    manifest.write_text("{")
    assert "cannot be read" in weights(str(path)).problem
    manifest.unlink()
    assert "start.ckpt.manifest.json: No such file" in weights(str(path)).problem
    path.unlink()
    assert weights(str(path)).problem.endswith("start.ckpt: No such file or directory")


def test_the_row_compares_the_nodes() -> None:
    sound = Weights("/w", variant="b0", class_count=7, sha256="ab")
    found = row(sound, sound)
    assert (found.state, found.text) == (RowState.OK, "/w: b0, 7 classes")
    other = Weights("/w", variant="b0", class_count=7, sha256="cd")
    assert row(sound, other).text == "/w is another checkpoint than on alpha"
    wrong = row(sound, Weights("/w", variant="b2", class_count=7, sha256="ab"))
    assert (wrong.state, wrong.hint) == (
        RowState.FAILED,
        "Set variant = b2, or change `weights`.",
    )
    assert row(sound, Weights("/w", "/w: No such file")).state is RowState.FAILED


def test_only_a_run_that_begins_with_weights_has_the_row() -> None:
    profile = loaded(LOCAL)
    assert "weights" in checks_of(profile, 0)
    assert questions(profile)[0].weights == "start.ckpt"
    without = with_settings(profile, [("weights", "")])
    assert "weights" not in checks_of(without, 0)
    chosen = with_settings(without, [("weights", "/w"), ("variant", "b1"), ("class_num", "3")])
    assert "weights" in checks_of(chosen, 0)
    assert chosen.trainer == {"variant": "b1", "weights": "/w", "class_num": 3}


def test_relative_paths_start_at_the_shell_on_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = (("eval_dataset_path", "val"), ("lr_max", "0.1"))
    assert dict(settings_of(loaded(LOCAL), given)) == {
        "eval_dataset_path": str(tmp_path / "val"),
        "lr_max": "0.1",
        "weights": str(tmp_path / "start.ckpt"),
    }
    assert settings_of(loaded(FAR), given) == given
