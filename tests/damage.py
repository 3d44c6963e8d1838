"""Damaged frames for every decoder: seeded, so that a failure can be repeated."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

WRONG_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1e999,
    "",
    "x",
    "²",
    "\x1b]52;c;\x07",
    "\udc80",
    [],
    {},
    [[1, "a"]],
    {"kind": "stop"},
)


def damaged_frames(samples: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """``count`` lines without line ends, each made from one of the JSON objects in ``samples``."""
    chance = random.Random(seed)
    ways = (_wrong_value, _missing, _cut, _flipped, _odd, _nested, _unknown_kind)
    for _ in range(count):
        frame = chance.choice(ways)(chance, chance.choice(samples))
        yield frame.replace(b"\n", b" ")


def _wrong_value(chance: random.Random, sample: bytes) -> bytes:
    data = json.loads(sample)
    for _ in range(chance.randint(1, 3)):
        place = _somewhere(chance, data)
        if place:
            place[chance.choice(sorted(place))] = copy.deepcopy(chance.choice(WRONG_VALUES))
    return json.dumps(data).encode()


def _missing(chance: random.Random, sample: bytes) -> bytes:
    data = json.loads(sample)
    place = _somewhere(chance, data)
    if place:
        del place[chance.choice(sorted(place))]
    return json.dumps(data).encode()


def _somewhere(chance: random.Random, data: dict[str, Any]) -> dict[str, Any]:
    inner = [value for value in data.values() if isinstance(value, dict)]
    return chance.choice([data, *inner])


def _cut(chance: random.Random, sample: bytes) -> bytes:
    return sample[: chance.randrange(len(sample))]


def _flipped(chance: random.Random, sample: bytes) -> bytes:
    data = bytearray(sample)
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _odd(chance: random.Random, sample: bytes) -> bytes:
    return chance.choice(
        [
            b"",
            b"null",
            b"[]",
            b"9" * 5000,
            b'"' + sample[:10],
            b"\xff\xfe" + sample,
            sample + sample,
            bytes(chance.randrange(256) for _ in range(chance.randint(1, 40))),
        ]
    )


def _nested(chance: random.Random, sample: bytes) -> bytes:
    depth = chance.choice([10, 3000])
    inner = b"[" * depth + b"]" * depth
    return sample[:-1] + b', "later": ' + inner + b"}"


def _unknown_kind(chance: random.Random, sample: bytes) -> bytes:
    data = json.loads(sample)
    data["kind"] = chance.choice(["", "later", "__init__", "kind", "x" * 1000, 7])
    return json.dumps(data).encode()
