"""On what a compiled graph depends: two graphs with the same key are the same function."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

import effnet
from effnet import device, user_cache
from effnet.config import TrainConfig, as_dict
from effnet.config.keys import Resume
from effnet.config.schema import keys
from effnet.distributed.group import Group
from effnet.kernels import build
from effnet.model.depthwise import COMPILED
from effnet.model.fused import FUSED

_SOURCES = Path(effnet.__file__).parent
_VARIABLES = ("MS_DEV_", "MS_ENABLE_", "MS_JIT", "MS_INTERNAL_", "OMP_", "DNNL_", "ONEDNN_")
"""How the environment changes what MindSpore compiles, or the bits that it computes."""


def key(
    what: str,
    parameters: Iterable[ms.Parameter],
    config: TrainConfig,
    group: Group,
    inputs: Sequence[ms.Tensor],
) -> str:
    """Of `what` this rank compiles. Raises `NotBuilt` and `OSError`."""
    parts: dict[str, Any] = {
        "what": what,
        "versions": [platform.python_version(), np.__version__, version("mindspore")],
        "machine": [platform.machine(), user_cache.cpu(), user_cache.c_library()],
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_VARIABLES)},
        "threads": device.thread_count(),
        "ranks": [group.size, group.world_size, len(group.logical_ranks)],
        "sources": _sources_digest(),
        "kernels": str(build.library()) if config.depthwise in (FUSED, COMPILED) else "",
        "config": _computing(config),
        "inputs": [[list(tensor.shape), str(tensor.dtype)] for tensor in inputs],
        "parameters": sorted(
            [p.name, list(p.shape), str(p.dtype), bool(p.requires_grad)] for p in parameters
        ),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _computing(config: TrainConfig) -> dict[str, Any]:
    """Without the keys that change nothing that is computed."""
    known = keys()
    return {
        name: value
        for name, value in as_dict(config).items()
        if known[name].resume is not Resume.FREE
    }


def _sources_digest() -> str:
    found = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(_SOURCES)}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()
