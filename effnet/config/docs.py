"""The table of docs/configuration.md: ``python -m effnet.config.docs`` prints it."""

from __future__ import annotations

from typing import Any

from effnet.config.defaults import TARGETS
from effnet.config.keys import Key
from effnet.config.load import resolve
from effnet.config.schema import as_dict, keys, types


def table() -> str:
    """Every key: type or choices, unit, default per target, from where, on resume."""
    values = {target: as_dict(resolve(target).config) for target in TARGETS}
    rows = [
        "| key | type | unit | Ascend | GPU | CPU | from | on resume | meaning |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, key in keys().items():
        defaults = (_shown(values[target][name]) for target in TARGETS)
        cells = (
            f"`{name}`", _kind(key, types()[name]), key.unit, *defaults, key.origin,
            key.resume.value, key.doc,
        )  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _kind(key: Key, kind: type) -> str:
    if key.choices:
        return ", ".join(f"`{choice}`" for choice in key.choices)
    if key.low is None or kind is bool:
        return kind.__name__
    return f"{kind.__name__}, {key.low:g} {'or more' if key.high is None else f'to {key.high:g}'}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"`{value}`" if isinstance(value, str) and value else str(value) or "empty"


if __name__ == "__main__":
    print(table())
