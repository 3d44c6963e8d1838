"""The manifest beside each checkpoint: what network it is of, and that the file is whole.

It is written last and at once, so a checkpoint without a manifest does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effnet.errors import EffnetError
from effnet.weights.files import replacing

FORMAT = 1


class ManifestMissing(EffnetError):
    """There is no manifest, so for us there is no checkpoint."""

    kind = "checkpoint"


class ManifestInvalid(EffnetError):
    """The manifest cannot be read, or a key is missing or of the wrong kind."""

    kind = "checkpoint"


class CheckpointCorrupt(EffnetError):
    """The file is not the one that its manifest describes."""

    kind = "checkpoint"


@dataclass(frozen=True)
class Manifest:
    """`sha256` and `bytes` are of the checkpoint file; `extra` is what its writer added.

    `source` says where the weights are from: `train`, or one of `names.SOURCES`.
    """

    variant: str
    padding: str
    num_classes: int
    bn_eps: float
    sha256: str
    bytes: int
    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)


_KINDS: dict[str, tuple[type, ...]] = {
    "variant": (str,),
    "padding": (str,),
    "num_classes": (int,),
    "bn_eps": (float, int),
    "sha256": (str,),
    "bytes": (int,),
    "source": (str,),
}


def manifest_path(checkpoint: Path) -> Path:
    """Where the manifest of a checkpoint is."""
    return checkpoint.with_name(checkpoint.name + ".manifest.json")


def write_manifest(
    checkpoint: Path, *, extra: Mapping[str, Any] | None = None, **network: Any
) -> Manifest:
    """Describe a checkpoint file that is already in place; `extra` must be JSON.

    `network` has the other fields of `Manifest`; those of the file are computed.
    """
    extra = dict(extra or {})
    reserved = sorted({"format", *_KINDS} & extra.keys())
    if reserved:
        raise ManifestInvalid(f"extra keys {', '.join(reserved)} are reserved for the manifest")
    size_bytes, digest = checkpoint.stat().st_size, sha256_of(checkpoint)
    manifest = Manifest(**network, bytes=size_bytes, sha256=digest, extra=extra)
    own = {key: getattr(manifest, key) for key in _KINDS}
    with replacing(manifest_path(checkpoint)) as aside:
        aside.write_text(json.dumps({"format": FORMAT, **own, **extra}, indent=1) + "\n")
    return manifest


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of a checkpoint; raises `ManifestMissing`, `ManifestInvalid`."""
    path = manifest_path(checkpoint)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestMissing(
            f"{checkpoint}: has no manifest ({path.name})",
            hint="a file from elsewhere becomes a checkpoint by `weights import`",
        ) from None
    except (OSError, ValueError) as error:
        raise ManifestInvalid(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ManifestInvalid(f"{path}: expected an object, found {type(found).__name__}")
    if found.get("format") != FORMAT:
        raise ManifestInvalid(f"{path}: format: {found.get('format')!r}, expected {FORMAT}")
    problems = [
        f"{key}: {found[key]!r}, expected {kinds[0].__name__}"
        if key in found
        else f"{key}: missing"
        for key, kinds in _KINDS.items()
        if not isinstance(found.get(key), kinds) or isinstance(found[key], bool)
    ]
    if problems:
        raise ManifestInvalid(f"{path}: " + "; ".join(problems))
    own = {key: found.pop(key) for key in _KINDS}
    del found["format"]
    return Manifest(**own, extra=found)


def verify(checkpoint: Path) -> Manifest:
    """The manifest, once the file's size and sha256 agree; else raises `CheckpointCorrupt` too."""
    manifest = read_manifest(checkpoint)
    try:
        size_bytes = checkpoint.stat().st_size
    except FileNotFoundError:
        raise CheckpointCorrupt(f"{checkpoint}: the manifest is there, the file is not") from None
    if size_bytes != manifest.bytes:
        raise CheckpointCorrupt(
            f"{checkpoint}: bytes: {size_bytes}, the manifest says {manifest.bytes}"
        )
    digest = sha256_of(checkpoint)
    if digest != manifest.sha256:
        raise CheckpointCorrupt(
            f"{checkpoint}: sha256: {digest}, the manifest says {manifest.sha256}"
        )
    return manifest


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        # hashlib.file_digest is not in Python 3.10.
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
