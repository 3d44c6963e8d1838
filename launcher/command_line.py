"""The ``effnet-launch`` command that does the same as an action, to show and to copy."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.errors import UsageError

PROGRAM = "effnet-launch"

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "start": {"data_path": "--data", "name": "--name"},
    "plan": {"data_path": "--data"},
    "stop": {},
    "resume": {"profile": "--profile", "checkpoint": "--checkpoint"},
    "eval": {"checkpoint": "--checkpoint", "data_path": "--data", "node": "--node"},
    "export": {
        "checkpoint": "--checkpoint",
        "file_format": "--format",
        "file_name": "--name",
        "node": "--node",
    },
    "infer": {"model": "--model", "data_path": "--data", "node": "--node"},
    "logs": {"rank": "--rank", "attempt": "--attempt", "grep": "--grep"},
    "status": {},
    "events": {},
    "runs": {},
    "attach": {},
}
"""Options with a value, for each action."""

_SWITCHES: Mapping[tuple[str, str, bool], str] = {
    ("stop", "save", False): "--no-save",
    ("start", "follow", True): "--follow",
    ("logs", "follow", True): "--follow",
    ("eval", "share_device", True): "--share-device",
    ("export", "share_device", True): "--share-device",
    ("infer", "share_device", True): "--share-device",
    ("plan", "json", True): "--json",
    ("status", "json", True): "--json",
    ("runs", "json", True): "--json",
    ("events", "json", True): "--json",
}


def command_line(action: str, target: str = "", /, **options: object) -> list[str]:
    """The argument list of an action on a profile or run.

    ``None`` options are left out; ``settings`` (a mapping, or pairs) becomes ``--set key=value``.
    Raises UsageError for an action or option that has no such command.
    """
    known = _OPTIONS.get(action)
    if known is None:
        raise UsageError(f"no command {action!r}", f"known: {', '.join(sorted(_OPTIONS))}")
    argv = [PROGRAM, action]
    if target:
        argv.append(target)
    for name, value in options.items():
        if value is None:
            continue
        if name == "settings" and action in ("start", "plan", "resume"):
            argv += _settings(value)
        elif isinstance(value, bool):
            switch = _SWITCHES.get((action, name, value))
            if switch is not None:
                argv.append(switch)
            elif (action, name, not value) not in _SWITCHES:
                raise UsageError(f"{action} has no option {name!r}")
        elif name in known:
            argv += [known[name], str(value)]
        else:
            raise UsageError(f"{action} has no option {name!r}")
    return argv


def _settings(value: object) -> list[str]:
    pairs = value.items() if isinstance(value, Mapping) else value
    if not hasattr(pairs, "__iter__"):
        raise UsageError("settings are pairs of key and value")
    argv: list[str] = []
    for key, setting in pairs:
        argv += ["--set", f"{key}={setting}"]
    return argv
