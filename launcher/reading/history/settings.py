"""The training configuration of a run, from the files of its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.core.history.config import Setting, resolved
from launcher.core.run.checkpoints import parse_manifest
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import CHECKPOINT_SUFFIX, MANIFEST_SUFFIX, RunPaths
from launcher.core.run.requests import StartRequest
from launcher.core.text.toml import parse_toml
from launcher.reading.growing import read_range

LIMIT_BYTES = 1024 * 1024


def profile_of(paths: RunPaths) -> Mapping[str, Any]:
    """The run's resolved profile as plain values, also of another version; empty when damaged."""
    return _object(paths.profile)


def settings_of(paths: RunPaths, info: RunInfo | None) -> dict[str, Setting]:
    """Each key that is known; all of them once there is a checkpoint."""
    profile = profile_of(paths)
    trainer = profile.get("trainer")
    if not isinstance(trainer, dict):
        try:
            trainer = parse_toml(read_range(paths.config, 0, LIMIT_BYTES).decode())
        except (ValueError, RecursionError):
            trainer = {}
    given = {
        "device_target": profile.get("device_target"),
        "dataset_path": profile.get("data_path"),
    }
    trainer = {**{key: value for key, value in given.items() if value}, **trainer}
    start = StartRequest() if info is None else info.start
    name = str(profile.get("name") or (info.profile if info else ""))
    return resolved(_saved(paths, profile), trainer, name, start.settings, start.data_path)


def surroundings_of(paths: RunPaths, info: RunInfo | None) -> dict[str, Setting]:
    """What else can differ: ranks, nodes, start method, variables of the environment, versions."""
    profile = profile_of(paths)
    source = f"profile {profile.get('name', '')}".rstrip()
    found: dict[str, Setting] = {}
    nodes, environment = profile.get("nodes"), profile.get("environment")
    if isinstance(nodes, list):
        names = [one.get("name") or one.get("address") for one in nodes if isinstance(one, dict)]
        found["nodes"] = Setting(", ".join(map(str, names)), source)
    if isinstance(environment, dict):
        found |= {name: Setting(value, source) for name, value in environment.items()}
    if start_method := profile.get("start_method"):
        found["start_method"] = Setting(start_method, source)
    if info is not None:
        found["ranks"] = Setting(info.world_size, source)
        found |= {name: Setting(text, "installed") for name, text in info.versions.items()}
    return found


def _saved(paths: RunPaths, profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the trainer wrote into the newest manifest."""
    checkpoint = profile.get("checkpoint")
    folder = checkpoint.get("directory") if isinstance(checkpoint, dict) else None
    where = Path(folder).expanduser() if folder and isinstance(folder, str) else paths.checkpoint
    pattern = f"step-*{CHECKPOINT_SUFFIX}{MANIFEST_SUFFIX}"
    for path in sorted(where.glob(pattern), reverse=True)[:2]:  # the newest may be damaged
        manifest = parse_manifest(read_range(path, 0, LIMIT_BYTES))
        if manifest is not None and manifest.config:
            return dict(manifest.config)
    return {}


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(read_range(path, 0, LIMIT_BYTES))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
