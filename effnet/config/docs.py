"""The table of docs/configuration.md: ``python -m effnet.config.docs`` prints it."""

from __future__ import annotations

import functools
from typing import Any

from effnet.config.keys import Key
from effnet.config.load import resolve
from effnet.config.schema import TARGETS, TrainConfig, keys


def table() -> str:
    """Every key: type or choices, unit, default per target, from where, on resume."""
    rows = [
        "| key | type | unit | Ascend | GPU | CPU | from | on resume | meaning |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, key in keys().items():
        defaults = (
            f"`{v}`" if key.kind is str and v != "empty" else v
            for v in shown_defaults(name).values()
        )
        kind = ", ".join(f"`{c}`" for c in key.choices) or allowed(key)
        cells = (f"`{name}`", kind, key.unit, *defaults, key.origin, key.resume.value, key.doc)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def allowed(key: Key) -> str:
    """The choices, or the type with its range."""
    if key.choices:
        return "|".join(key.choices)
    if key.low is None or key.kind is bool:
        return key.kind.__name__
    return (
        f"{key.kind.__name__}, {key.low:g} {'or more' if key.high is None else f'to {key.high:g}'}"
    )


def shown_defaults(name: str) -> dict[str, str]:
    """Target to the text of the default of the key `name` on it."""
    return {target: _shown(getattr(_defaults(target), name)) for target in TARGETS}


@functools.cache
def _defaults(target: str) -> TrainConfig:
    return resolve(target).config


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "empty"


if __name__ == "__main__":
    print(table())
