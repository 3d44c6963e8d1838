"""One export: write a temporary file, load it, compare it, then rename it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from effnet.errors import first_line
from effnet.export import mindir, onnx_file
from effnet.export.compare import Compute, Difference, ExportRefused, compare
from effnet.export.precision import Cost
from effnet.model.depthwise import use_plain_depthwise
from effnet.model.efficientnet import EfficientNet
from effnet.weights.files import replacing
from effnet.weights.manifest import sha256_of

SUFFIXES = {"ONNX": ".onnx", "MINDIR": ".mindir", "AIR": ".air"}


@dataclass(frozen=True)
class Exported:
    """`difference` is `None` where the format cannot be loaded here."""

    path: Path
    bytes: int
    sha256: str
    difference: Difference | None
    cost: Cost | None = None
    """Of a smaller precision."""


Narrow = Callable[[Path], Cost]
"""Changes a file to a smaller precision, in place."""


def target(file_name: str, file_format: str) -> Path:
    """NAME with the format's ending, unless it has it."""
    suffix = SUFFIXES[file_format]
    return Path(file_name if file_name.lower().endswith(suffix) else file_name + suffix)


def export(
    network: Callable[[], EfficientNet],
    size_px: tuple[int, int],
    record: Mapping[str, Any],
    path: Path,
    file_format: str,
    batch_size: int | None,
    narrow: Narrow | None = None,
) -> Exported:
    """Write what `network` makes, a fresh one at each call, to `path`.

    `size_px` is (height, width). `narrow` is for ONNX; it gets the file after the comparison.

    Raises `ExportRefused`, and then `path` is as it was before; `OSError` for a folder or disk
    that cannot take the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # MindSpore refuses paths with spaces and most other characters, so not beside the target.
    with tempfile.TemporaryDirectory(prefix="effnet-export-") as folder:
        made = Path(folder) / f"model{SUFFIXES[file_format]}"
        net = network()
        use_plain_depthwise(net)
        try:
            if file_format == "ONNX":
                onnx_file.write(net, made, size_px, batch_size, record)
            elif file_format == "MINDIR":
                mindir.write(net, made, size_px, batch_size)
            else:
                mindir.write_air(net, made, size_px, batch_size)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExportRefused(f"MindSpore cannot export this: {first_line(error)}") from error
        difference = None
        if file_format != "AIR":
            batches = (batch_size,) if batch_size else (1, 3)
            difference = compare(
                _loaded(made, file_format), mindir.computed_by(network()), (3, *size_px), batches
            )
        cost = None if narrow is None else narrow(made)
        done = _put(made, path, record, difference, sidecar=file_format != "ONNX")
        return replace(done, cost=cost)


def _loaded(made: Path, file_format: str) -> Compute:
    load = onnx_file.load if file_format == "ONNX" else mindir.load
    try:
        return load(made)
    except Exception as error:
        raise ExportRefused(f"the exported file cannot be loaded: {first_line(error)}") from error


def _put(
    made: Path,
    path: Path,
    record: Mapping[str, Any],
    difference: Difference | None,
    *,
    sidecar: bool,
) -> Exported:
    """Replace `path` by a copy; where the file cannot hold the record, write it to `path`.json."""
    about = path.with_name(path.name + ".json")
    with replacing(path) as aside:
        shutil.copyfile(made, aside)
        done = Exported(path, aside.stat().st_size, sha256_of(aside), difference)
        if sidecar:
            # It describes the older file of this name.
            about.unlink(missing_ok=True)
    if sidecar:
        values = {**record, "bytes": done.bytes, "sha256": done.sha256}
        with replacing(about) as aside:
            aside.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return done
