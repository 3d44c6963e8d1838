"""Profiles from TOML text; all errors are reported at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from launcher.core.profile import check
from launcher.core.profile.model import NodeDefaults, Profile
from launcher.core.profile.secrets import redact
from launcher.core.text.suggest import did_you_mean
from launcher.core.text.toml import parse_toml
from launcher.errors import ProfileError

_EXPECTED = {
    "missing": "missing required key",
    "extra_forbidden": "no such key",
    "string_type": "a string in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def load_profile(
    text: str, file: str, default_name: str = "", notify: dict[str, Any] | None = None
) -> Profile:
    """The profile in a TOML text. ``file`` is for messages. Raises :class:`ProfileError`.

    ``notify`` is the user's own table, for a profile that has none.
    """
    try:
        raw = parse_toml(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{file} is not TOML", (f"{file}: {error}",)) from None
    if default_name:
        raw.setdefault("name", default_name)
    if notify is not None:
        raw.setdefault("notify", notify)
    problems = _merge_defaults(raw)
    profile: Profile | None = None
    try:
        # Strict JSON mode: strings are not numbers, but lists may be tuples.
        profile = Profile.model_validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        problems += _explain_all(error, raw)
    except RecursionError:
        problems.append(("", "fewer levels of tables"))
    problems += list(check.check(raw))
    if problems or profile is None:
        lines = tuple(dict.fromkeys(f"{file}: {_line(key, text)}" for key, text in problems))
        count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
        raise ProfileError(f"the profile {file} has {count}", lines)
    return profile


def without_secrets(text: str, profile: Profile) -> str:
    """The TOML text that ``profile`` is from, with its secret values hidden.

    Where they can't be found in the text, it is what the text resolves to.
    """
    values = {value for table in profile.secrets.values() for value in table.values() if value}
    text = redact(text, values)
    if values & set(_strings(parse_toml(text))):
        return profile.to_json() + "\n"
    return text


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def profile_from_json(text: str | bytes) -> Profile:
    """The profile in a run directory's ``profile.json``. Raises :class:`ProfileError`."""
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        lines = tuple(_line(key, text) for key, text in _explain_all(error, {}))
        raise ProfileError("the run's profile can't be read", lines) from None


def _line(key: str, text: str) -> str:
    return f"{key}: {text}" if key else text


def _merge_defaults(raw: dict[str, Any]) -> list[check.Problem]:
    """Moves ``[node_defaults]`` into each node of ``raw``, in place."""
    defaults = raw.pop("node_defaults", {})
    if not isinstance(defaults, dict):
        return [("node_defaults", "a table")]
    problems = [
        (f"node_defaults.{key}", f"no such key{_nearest(key, NodeDefaults)}")
        for key in defaults
        if key not in NodeDefaults.model_fields
    ]
    known = {key: value for key, value in defaults.items() if key in NodeDefaults.model_fields}
    if raw.get("start_method") == "slurm" and "nodes" not in raw:
        raw["nodes"] = _nodes_of_slurm(raw.get("slurm"))
    for key in ("nodes", "spares"):
        nodes = raw.get(key)
        if isinstance(nodes, list):
            raw[key] = [_merged(known, node) if isinstance(node, dict) else node for node in nodes]
    return problems


def _nodes_of_slurm(table: object) -> list[dict[str, str]]:
    """Stand for the nodes that Slurm will choose. At least one: the count is checked elsewhere."""
    count = table.get("nodes") if isinstance(table, dict) else None
    count = count if isinstance(count, int) and 0 < count <= 4096 else 1
    names = (f"{check.SLURM_NODE}{number}" for number in range(1, count + 1))
    return [{"name": name, "address": name, "transport": "local"} for name in names]


def _merged(defaults: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **node}
    common, own = defaults.get("environment"), node.get("environment")
    if isinstance(common, dict) and isinstance(own, dict):
        merged["environment"] = {**common, **own}
    return merged


def _explain_all(error: ValidationError, raw: dict[str, Any]) -> list[check.Problem]:
    problems: list[check.Problem] = []
    for item in error.errors(include_url=False):
        key = _key(item["loc"])
        if item["type"] == "too_short" and raw.get(key):
            continue  # pydantic counts the good items only, and the bad ones are named
        if item["type"] == "json_invalid":
            problems.append((key, str(item["msg"])))
        elif item["loc"][:1] == ("trainer",) and len(item["loc"]) > 1:
            # One error for each branch of a union: none says more than the others.
            problems.append((key, "a string, a number, true, false, or a list of these"))
        else:
            problems.append(_explain(dict(item)))
    return problems


def _explain(error: dict[str, Any]) -> check.Problem:
    location: tuple[str | int, ...] = error["loc"]
    key = _key(location)
    kind = str(error["type"])
    if kind == "extra_forbidden":
        return key, f"no such key{_nearest(str(location[-1]), _model_at(location[:-1]))}"
    text = _EXPECTED.get(kind)
    if text is None:
        message = str(error["msg"])
        text = message[0].lower() + message[1:]
        text = text.removeprefix("input should be ")
    if kind in ("enum", "literal_error") and isinstance(error["input"], str):
        known = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        text += f", not {error['input']!r}{did_you_mean(error['input'], known)}"
    elif "environment" in location:
        pass  # the value may be a password
    elif kind != "missing" and isinstance(error["input"], (str, int, float)):
        text += f", not {error['input']!r}"
    return key, text


def _key(location: tuple[str | int, ...]) -> str:
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        # A union adds the branch that it tried, which is not a key of the file.
        elif part not in ("bool", "int", "float", "str") and not str(part).startswith("tuple["):
            key += f".{part}" if key else str(part)
    return key


def _model_at(location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that the keys at a place of a profile belong to."""
    model: type[BaseModel] | None = Profile
    for part in location:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None
        model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _nearest(key: str, model: type[BaseModel] | None) -> str:
    if model is None:
        return ""
    known = f"; known are {', '.join(sorted(model.model_fields))}"
    return did_you_mean(key, model.model_fields) or known
