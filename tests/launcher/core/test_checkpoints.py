"""Which checkpoint a resume takes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.run.checkpoints import CheckpointFacts, Manifest, choose, parse_manifest

GOOD = {"sha256": "ab", "bytes": 10, "epoch": 1, "step": 45, "steps_per_epoch": 45, "world_size": 2}


def facts(step: int, **changes: object) -> CheckpointFacts:
    manifest = parse_manifest(json.dumps({**GOOD, "step": step}))
    values: dict[str, object] = {"path": f"/c/{step}", "manifest": manifest, "file_bytes": 10}
    return CheckpointFacts(**{**values, **changes})  # type: ignore[arg-type]


def test_the_newest_complete_checkpoint_is_chosen_with_reasons_for_the_others() -> None:
    found = [
        facts(9),
        facts(90),
        facts(450, sha256="cd"),
        facts(1000, file_bytes=4),
        facts(700, file_bytes=None),
        facts(0, path="/c/half", manifest=None),
    ]
    choice = choose(found, newest_step=1001)
    assert (choice.path, choice.step, choice.steps_lost) == ("/c/90", 90, 911)
    why = {item.path: item.why for item in choice.skipped}
    assert "4 bytes of 10" in why["/c/1000"]
    assert "its file is missing" in why["/c/700"]
    assert "sha256 is wrong" in why["/c/450"]
    assert "still being written" in why["/c/half"]
    assert not choice.verified
    assert choose([facts(90, sha256="ab")]).verified


def test_steps_are_compared_as_numbers() -> None:
    assert choose([facts(90), facts(450), facts(1000)]).step == 1000


def test_another_world_size_needs_the_end_of_an_epoch() -> None:
    choice = choose([facts(90), facts(100)], world_size=4)
    assert choice.step == 90
    assert "in the middle of an epoch" in choice.skipped[0].why
    assert choose([facts(90), facts(100)], world_size=2).step == 100


def test_no_usable_checkpoint() -> None:
    assert choose([]).path is None
    assert choose([facts(1, file_bytes=None)]).why == "no checkpoint is whole"


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["ok", "short", "missing", "half"])),
        max_size=8,
        unique_by=lambda item: item[0],
    )
)
def test_the_choice_is_the_newest_usable_checkpoint(items: list[tuple[int, str]]) -> None:
    changes: dict[str, dict[str, object]] = {
        "ok": {},
        "short": {"file_bytes": 1},
        "missing": {"file_bytes": None},
        "half": {"manifest": None},
    }
    found = [facts(step, **changes[kind]) for step, kind in items]
    whole = [step for step, kind in items if kind == "ok"]
    choice = choose(found, newest_step=60)
    assert choice.step == max(whole, default=None)
    if choice.step is not None:
        assert choice.steps_lost == 60 - choice.step
        newer = [step for step, kind in items if kind != "half" and step > choice.step]
        halves = [step for step, kind in items if kind == "half"]
        assert len(choice.skipped) == len(newer) + len(halves)


def test_manifests() -> None:
    manifest = parse_manifest(json.dumps({**GOOD, "created": 5, "config": {"b": 1, "a": [2]}}))
    assert manifest == Manifest("ab", 10, 1, 45, 45, 2, 5.0, (("a", [2]), ("b", 1)))
    for key in ("sha256", "bytes", "epoch", "step"):
        assert parse_manifest(json.dumps({k: v for k, v in GOOD.items() if k != key})) is None
        assert parse_manifest(json.dumps({**GOOD, key: None})) is None
    assert parse_manifest(json.dumps({**GOOD, "step": True})) is None
