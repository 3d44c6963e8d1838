"""The ``effnet-launch`` command that does the same as an action, to show and to copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.errors import UsageError

PROGRAM = "effnet-launch"

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "start": {
        "data_path": "--data",
        "name": "--name",
        "settings": "--set",
        "ignore": "--ignore",
    },
    "plan": {"data_path": "--data", "settings": "--set"},
    "doctor": {"target": "--target"},
    "preflight": {"data_path": "--data", "settings": "--set", "ignore": "--ignore"},
    "stop": {"job": "--job"},
    "resume": {
        "profile": "--profile",
        "checkpoint": "--checkpoint",
        "settings": "--set",
        "data_path": "--data",
        "ignore": "--ignore",
    },
    "eval": {
        "checkpoint": "--checkpoint",
        "weights": "--weights",
        "data_path": "--data",
        "node": "--node",
    },
    "export": {
        "checkpoint": "--checkpoint",
        "file_format": "--format",
        "file_name": "--name",
        "weights": "--weights",
        "image_size": "--image-size",
        "node": "--node",
    },
    "infer": {"model": "--model", "data_path": "--data", "node": "--node"},
    "logs": {"rank": "--rank", "attempt": "--attempt", "grep": "--grep", "job": "--job"},
    "status": {},
    "events": {},
    "runs": {},
    "attach": {},
}
"""Options with a value, for each action."""

_SWITCHES: Mapping[tuple[str, str, bool], str] = {
    ("stop", "save", False): "--no-save",
    ("start", "follow", True): "--follow",
    ("resume", "follow", True): "--follow",
    ("logs", "follow", True): "--follow",
    ("events", "follow", True): "--follow",
    ("start", "dry_run", True): "--dry-run",
    ("resume", "dry_run", True): "--dry-run",
    ("eval", "share_device", True): "--share-device",
    ("export", "share_device", True): "--share-device",
    ("infer", "share_device", True): "--share-device",
    ("start", "preflight", False): "--no-preflight",
    ("resume", "preflight", False): "--no-preflight",
    ("preflight", "fix", True): "--fix",
    ("doctor", "fix", True): "--fix",
    ("doctor", "json", True): "--json",
    ("preflight", "json", True): "--json",
    ("plan", "json", True): "--json",
    ("status", "json", True): "--json",
    ("runs", "json", True): "--json",
    ("events", "json", True): "--json",
}
"""Options without a value; the opposite truth is their default and has no word."""


def command_line(action: str, target: str = "", /, **options: object) -> list[str]:
    """The argument list of an action on a profile or run.

    ``None`` and empty texts are left out; ``settings`` are pairs of key and value.
    Raises UsageError for an action or option that has no such command.
    """
    known = _OPTIONS.get(action)
    if known is None:
        raise UsageError(f"no command {action!r}", f"known: {', '.join(sorted(_OPTIONS))}")
    argv = [PROGRAM, action]
    if target:
        argv.append(target)
    for name, value in options.items():
        if value is None or value == "":
            continue
        if isinstance(value, bool) and (action, name, value) in _SWITCHES:
            argv.append(_SWITCHES[action, name, value])
        elif isinstance(value, bool) and (action, name, not value) in _SWITCHES:
            continue
        elif name not in known or isinstance(value, bool):
            raise UsageError(f"{action} has no option {name!r}")
        elif name == "settings":
            argv += _settings(value)
        elif isinstance(value, (list, tuple)):
            argv += [word for item in value for word in (known[name], str(item))]
        else:
            argv += [known[name], str(value)]
    return argv


def _settings(value: object) -> list[str]:
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable):
        raise UsageError("settings are pairs of key and value")
    argv: list[str] = []
    for key, setting in pairs:
        argv += ["--set", f"{key}={setting}"]
    return argv
