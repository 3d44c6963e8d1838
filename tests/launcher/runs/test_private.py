"""Run directories are private, whatever the umask; what others can change is refused."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import client
from launcher.errors import LaunchError
from launcher.process import private


def not_private(folder: Path) -> dict[str, str]:
    """Path -> mode of each folder that is not 0700 and each file that is not 0600."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        expected = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o600}.get(stat.S_IFMT(status.st_mode))
        if expected is not None and stat.S_IMODE(status.st_mode) != expected:
            found[str(path)] = f"{stat.S_IMODE(status.st_mode):04o}"
    return found


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_all_files_of_a_run_are_private(lab):
    root = lab.start({"rank": 1, "step": 15, "attempt": 1, "do": "kill"}, auto_resume=1)
    lab.wait_for(root, "attempt_finished")
    for arguments in (["eval"], ["export"], ["infer"], ["note", "why"]):
        done = lab.command(arguments[0], root.name, *arguments[1:])
        assert done.returncode == 0, done.stderr
    lab.nothing_left()
    assert (root / "attempts/002/ranks/0001/log.txt").is_file()
    assert list((root / "checkpoint").glob("*.ckpt"))
    assert not_private(lab.runs) == {}


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711])
def test_a_folder_that_others_can_read_is_closed_to_them(tmp_path, mode):
    root = tmp_path / "run"
    (root / "attempts/001").mkdir(parents=True)
    (root / "attempts/001/plan.json").write_text("{}")
    (root / "link").symlink_to(tmp_path)
    (root / "attempts").chmod(0o755)
    root.chmod(mode)
    (root / "attempts/001/plan.json").chmod(0o644)
    before = stat.S_IMODE(tmp_path.stat().st_mode)
    line = private.require_own(root)
    assert f"mode {mode:04o}" in line
    assert not line.count("\n")
    assert not_private(root) == {}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == before
    assert private.require_own(root) == ""


@pytest.mark.parametrize("place", ["", "attempts", "attempts/001/plan.json"])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o722])
def test_a_folder_that_others_can_change_is_refused_with_the_command(tmp_path, place, mode):
    root = tmp_path / "a 'run'"
    (root / "attempts/001").mkdir(parents=True)
    (root / "attempts/001/plan.json").write_text("{}")
    root.chmod(0o755)
    (root / place).chmod(mode)
    with pytest.raises(LaunchError) as caught:
        private.require_own(root)
    assert f"{root / place} can be changed by other users (mode {mode:04o})" in str(caught.value)
    command = caught.value.hint.partition("type: ")[2]
    assert os.system(command) == 0  # noqa: S605 the hint is typed as it stands
    assert private.require_own(root) == ""


@pytest.mark.needs_root
@pytest.mark.parametrize("place", ["", "attempts", "attempts/001/plan.json"])
def test_a_folder_of_another_user_is_refused(tmp_path, place):
    root = tmp_path / "run"
    (root / "attempts/001").mkdir(parents=True)
    (root / "attempts/001/plan.json").write_text("{}")
    root.chmod(0o755)
    os.chown(root / place, 65534, 65534)
    with pytest.raises(LaunchError, match="belongs to nobody, not to you"):
        private.require_own(root)


def test_a_group_with_one_member_is_not_other_users(tmp_path, monkeypatch):
    """Distributions with a group for each user have umask 0002."""
    group = grp.struct_group(("me", "x", tmp_path.stat().st_gid, []))
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)
    monkeypatch.setattr(pwd, "getpwall", lambda: [pwd.getpwuid(os.geteuid())])
    root = tmp_path / "run"
    root.mkdir()
    root.chmod(0o775)
    assert "private now" in private.require_own(root)
    root.chmod(0o775)
    group = grp.struct_group(("team", "x", root.stat().st_gid, ["nobody"]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)
    with pytest.raises(LaunchError, match="can be changed by other users"):
        private.require_own(root)


@pytest.mark.usefixtures("open_umask")
def test_missing_folders_are_made_private(tmp_path):
    private.make_folder(tmp_path / "a/b/c")
    assert not_private(tmp_path / "a") == {}


@pytest.mark.usefixtures("open_umask")
def test_what_a_client_writes_itself_is_private(lab):
    """It runs in the process of its caller, whose umask stays."""
    root = lab.start()
    client.set_note(root, "new")
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    assert not_private(lab.runs) == {}
