"""Typed messages: the registry, and what it does with damaged ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from launcher.core.run.events import Event, RankExited, parse_event, to_json
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    Record,
    UnknownKindError,
    decode,
    encode,
    parse_object,
)
from tests.damage import damaged_frames


class Family(Record):
    pass


@dataclass(frozen=True)
class Stop(Family, kind="stop"):
    by: str
    save: bool = True


def test_a_record_comes_back_from_its_object() -> None:
    assert encode(Stop("me", save=False)) == {"kind": "stop", "by": "me", "save": False}
    assert decode(Family, encode(Stop("me", save=False))) == Stop("me", save=False)


def test_unknown_fields_are_ignored() -> None:
    assert decode(Family, {"kind": "stop", "by": "me", "later": [1]}) == Stop("me")


def test_an_unknown_kind_is_an_error_with_the_protocol_version() -> None:
    for kind in ("later", "run_created"):
        with pytest.raises(UnknownKindError, match="protocol"):
            decode(Family, {"kind": kind})


@pytest.mark.parametrize(
    "data",
    [None, [], 7, {}, {"kind": 7}, {"kind": ["stop"]}, {"kind": "stop"}, {"kind": "stop", "by": 1}],
)
def test_missing_fields_and_wrong_types_are_mismatches(data: object) -> None:
    with pytest.raises(Mismatch):
        decode(Family, data)


def test_numbers_above_64_bits_are_mismatches() -> None:
    line = '{"kind": "rank_exited", "n": 1, "t": 0, "attempt": 1, "node": "a", "rank": %s}'
    assert parse_event(line % 7) is not None
    assert parse_event(line % ("9" * 400)) is None


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff", b"[]", b"{", b"9" * 5000, b"[" * 100_000, b" " * (MAX_FRAME_BYTES + 1)],
)
def test_a_line_that_is_not_an_object_is_a_mismatch(line: bytes) -> None:
    with pytest.raises(Mismatch):
        parse_object(line)


def test_two_classes_of_one_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="stop"):

        class Again(Family, kind="stop"):
            pass


def test_damaged_events_never_raise() -> None:
    sample = to_json(RankExited(1, 3, "node-b", None, 9, n=1, t=0.5)).encode()
    found = [parse_event(frame) for frame in damaged_frames([sample], 20_000, seed=1)]
    assert any(found)
    assert not all(found)
    assert all(event is None or isinstance(event, Event) for event in found)
