"""Events as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnosis.event_text import event_text

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


def test_an_evaluation_prints_its_result() -> None:
    event = {
        "kind": "eval_finished",
        "top_1_acc": 0.925,
        "top_5_acc": 0.99444,
        "loss": 0.8893,
        "images": 360,
    }
    expected = "eval finished: top-1 92.50 %, top-5 99.44 %, loss 0.889, 360 images"
    assert event_text(event) == expected


def test_an_unknown_kind_prints_all_its_fields() -> None:
    assert event_text({"kind": "moon_rose", "t": 1.0, "phase": "full"}) == "moon rose: phase=full"


KINDS = ["attempt_started", "rank_exited", "attempt_failed", "checkpoint_saved", "attempt_stopped"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["rank", "node", "step"]), VALUES))
def test_events_of_any_shape_are_printed(kind: str, fields: dict[str, object]) -> None:
    assert event_text({**fields, "kind": kind}).startswith(kind.replace("_", " "))
