"""This version of effnet-tui as a wheel, from the files that run here.

No index and no build tool is needed: a wheel is a zip of packages and their metadata (the binary
distribution format of PyPA's specifications).
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path

from launcher.errors import LaunchError
from launcher.machine.facts import package_folder

DISTRIBUTION = "effnet-tui"
PACKAGES = ("effnet", "launcher", "tui", "cluster_profiles")
WHEEL = "Wheel-Version: 1.0\nGenerator: effnet-tui\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel() -> tuple[str, bytes]:
    """(file name, content). Raises `LaunchError` when effnet-tui is not installed."""
    try:
        found = importlib.metadata.distribution(DISTRIBUTION)
        # A folder that was only built has it under its other name.
        metadata = found.read_text("METADATA") or found.read_text("PKG-INFO")
    except importlib.metadata.PackageNotFoundError:
        metadata = None
    if metadata is None:
        raise LaunchError(
            "effnet-tui is not installed here, so no wheel can be made of it",
            "Install it here with pip, then try again.",
        )
    name = DISTRIBUTION.replace("-", "_")
    info = f"{name}-{found.version}.dist-info"
    files = {path: content for package in PACKAGES for path, content in _files(package)}
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    files[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return f"{name}-{found.version}-py3-none-any.whl", content.getvalue()


def _files(package: str) -> list[tuple[str, bytes]]:
    root = package_folder(package)
    if root is None:
        return []
    return [
        (str(Path(package) / path.relative_to(root)), path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    return f"sha256={digest.rstrip('=')}"
