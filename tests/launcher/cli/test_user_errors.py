"""Errors of users: one line that says what to do, no traceback."""

from __future__ import annotations

import json

import pytest


def test_user_errors_print_no_traceback(lab):
    (lab.folder / "bad.toml").write_text("name = 3\n")
    for arguments, code in [
        (("start", str(lab.folder / "bad.toml")), 2),
        (("start", "no-such-profile"), 2),
        (("start", str(lab.profile()), "--set", "nonsense"), 2),
        (("status", "no-such-run"), 3),
        (("stop",), 3),
        (("no-such-command",), 2),
        (("profiles", "check", str(lab.folder / "bad.toml")), 2),
    ]:
        done = lab.command(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr


def test_a_long_path_in_an_error_is_not_broken(lab):
    path = f"/{'a-long-folder/' * 12}none.toml"
    assert path in lab.command("start", path).stderr


@pytest.mark.parametrize("profile", ["cpu-2-nodes-ssh", "gpu-2x8-mpirun", "ascend-2x8"])
def test_an_unreachable_cluster_can_be_planned(lab, profile):
    assert json.loads(lab.command("plan", profile, "--json").stdout)["world_size"] > 1
    assert "rank 0" in lab.command("plan", profile).stdout


def test_an_unreachable_node_is_named_before_anything_is_written(lab):
    text = (
        lab.profile().read_text().replace('"127.0.0.1"', '"127.0.0.1"\ntransport = "ssh"\nport = 1')
    )
    (lab.folder / "away.toml").write_text(text)
    done = lab.command("start", str(lab.folder / "away.toml"))
    assert done.returncode == 6, done.stderr
    assert "127.0.0.1:1 can't be reached" in done.stderr
    assert not lab.runs.exists()


def test_an_unwritable_runs_folder_is_a_clear_error(lab, monkeypatch):
    (lab.folder / "file").write_text("")
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(lab.folder / "file" / "runs"))
    for words, code, expected in (
        ((), 6, "cannot write"),
        (("--no-preflight",), 1, "cannot be written"),
    ):
        done = lab.command("start", str(lab.profile()), *words)
        assert done.returncode == code
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
