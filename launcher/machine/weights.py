"""The checkpoint that a run begins with, as its manifest describes it. It is not read itself."""

from __future__ import annotations

import json
import os
from typing import Any

from launcher.core.checks.facts import Weights


def weights(path: str, working_folder: str = "") -> Weights:
    """What is there; a relative path starts at the ranks' working directory."""
    given = os.path.join(os.path.expanduser(working_folder), os.path.expanduser(path))
    full = os.path.realpath(given)
    manifest = f"{full}.manifest.json"
    try:
        size_bytes = os.stat(full).st_size
        with open(manifest, encoding="utf-8") as file:
            found: Any = json.load(file)
    except OSError as error:
        return Weights(given, f"{error.filename}: {error.strerror or error}")
    except ValueError as error:
        return Weights(given, f"{manifest} cannot be read: {error}")
    keys = {"variant": str, "num_classes": int, "sha256": str, "bytes": int}
    if not isinstance(found, dict) or any(
        not isinstance(found.get(key), kind) for key, kind in keys.items()
    ):
        return Weights(given, f"{manifest} is not the manifest of a checkpoint")
    if not os.access(full, os.R_OK):
        return Weights(given, f"{full} cannot be read by this user")
    if size_bytes != found["bytes"]:
        text = f"{full} has {size_bytes} bytes, its manifest says {found['bytes']}"
        return Weights(given, text)
    return Weights(
        given,
        variant=found["variant"],
        class_count=found["num_classes"],
        sha256=found["sha256"],
    )
