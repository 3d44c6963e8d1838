"""Copies of checkpoints: on which node they are, and which profiles may ask for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.core.profile.copies import copies_node, copies_text
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.core.run import events as e
from launcher.core.run.events import Event
from launcher.core.run.fold import apply
from launcher.core.run.nodes import CopyState
from launcher.core.run.state import RunState
from launcher.errors import LaunchError, ProfileError
from launcher.store.copies import keep_only
from tests.launcher.core.test_spares import NO_SPARES, PROFILE

COPIES = "\n[checkpoint]\ncopies = 2\n"
ONE = NO_SPARES.partition('[[nodes]]\nname = "b"')[0]
SHARED = COPIES + "shared = true\n"


def profile(text: str) -> Profile:
    return load_profile(text, "p.toml")


def label(text: str) -> str | None:
    node = copies_node(profile(text))
    return None if node is None else node.label


def test_the_first_other_node_has_the_copies_and_a_spare_only_where_there_is_none() -> None:
    assert label(PROFILE + COPIES) == "b"
    assert label(NO_SPARES + COPIES) == "b"
    alone = PROFILE.replace('[[nodes]]\nname = "b"\naddress = "10.0.0.2"\n', "")
    assert label(alone + COPIES) == "s"
    assert label(PROFILE) is None
    assert label(PROFILE + SHARED) is None


def test_the_plan_says_where_copies_are_or_why_there_are_none() -> None:
    assert copies_text(profile(PROFILE)) == ""
    text = "checkpoints are written on a, and copied to b (checkpoint.copies)"
    assert copies_text(profile(PROFILE + COPIES)) == text
    assert "all nodes share" in copies_text(profile(PROFILE + SHARED))


def test_with_a_rank_table_rank_0_may_be_on_a_later_node() -> None:
    # 10.0.0.10 comes before 10.0.0.9 there.
    devices = 'devices = [{ device_id = 0, device_ip = "10.1.0.%d" }]\n'
    text = NO_SPARES.replace('"CPU"', '"Ascend"').replace('"cluster"', '"ranktable"')
    text = text.replace("slots = 2\n", "")
    text = text.replace('"10.0.0.1"\n', f'"10.0.0.9"\n{devices % 1}')
    text = text.replace('"10.0.0.2"\n', f'"10.0.0.10"\n{devices % 2}')
    assert label(text + COPIES) == "a"
    assert "written on b, and copied to a" in copies_text(profile(text + COPIES))


WRONG = {
    "no other node": (ONE + COPIES, "checkpoint.copies"),
    "three": (PROFILE + COPIES.replace("2", "3"), "checkpoint.copies"),
    "a program": (PROFILE + COPIES + '[program]\ncommand = ["a"]\n', "checkpoint"),
}


@pytest.mark.parametrize("case", WRONG)
def test_profiles_that_cannot_have_copies(case: str) -> None:
    text, key = WRONG[case]
    with pytest.raises(ProfileError) as caught:
        profile(text)
    assert any(f"{key}:" in problem for problem in caught.value.problems), caught.value.problems


def test_under_slurm_the_runs_folder_is_shared_already() -> None:
    text = 'name = "p"\ndevice_target = "CPU"\nstart_method = "slurm"\n'
    text += "[slurm]\nnodes = 2\n[node_defaults]\nslots = 2\n" + COPIES
    with pytest.raises(ProfileError) as caught:
        profile(text)
    assert "share the runs folder" in "\n".join(caught.value.problems)


def state_of(*events: Event) -> RunState:
    state = RunState()
    start = (e.RunCreated("r", "p", 4), e.AttemptStarted(1, 4))
    for n, event in enumerate((*start, *events), 1):
        object.__setattr__(event, "n", n)
        state = apply(state, event)
    assert state.skipped == 0
    return state


def test_the_state_has_the_newest_copy_and_why_there_is_no_newer_one() -> None:
    copied = [e.CheckpointCopied(1, step, "b", f"/c/{step}") for step in (20, 10)]
    state = state_of(*copied)
    assert state.copy == CopyState("b", 1, 20, "/c/20", 0.0)
    assert state.copy.words == "copied to b: /c/20"
    state = state_of(*copied, e.CheckpointNotCopied(1, "b", "full", 30))
    assert state.copy == CopyState("b", 1, 20, "/c/20", 0.0, "full")
    state = state_of(e.CheckpointNotCopied(1, "b", "full"))
    assert state.copy is not None
    assert (state.copy.words, state.copy.why) == ("no checkpoint is copied to b", "full")
    again = e.AttemptStarted(2, 4)
    failed = e.AttemptFailed(1, e.Failure(e.FailureKind.NODE, "away"))
    state = state_of(*copied, failed, again, e.CheckpointCopied(2, 10, "b", "/c/10"))
    assert state.copy == CopyState("b", 2, 10, "/c/10", 0.0)


def test_only_a_folder_of_copies_is_cleaned(tmp_path: Path) -> None:
    for name in ("copies", "checkpoint"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("step-00000010.ckpt", "step-00000020.ckpt"):
            (folder / file).touch()
            (folder / f"{file}.manifest.json").touch()
        (folder / ".step-00000030.ckpt.17.part").touch()
        (folder / "notes.txt").touch()
    keep_only(tmp_path / "copies", ["step-00000020.ckpt"])
    left = {path.name for path in (tmp_path / "copies").iterdir()}
    assert left == {"step-00000020.ckpt", "step-00000020.ckpt.manifest.json", "notes.txt"}
    with pytest.raises(LaunchError, match="nothing was deleted"):
        keep_only(tmp_path / "checkpoint", [])
    assert len(list((tmp_path / "checkpoint").iterdir())) == 6
