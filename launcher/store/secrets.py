"""Values of secret variables: kept outside of the run directory, on the supervisor's machine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from launcher.core.profile.secrets import Secrets
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import LaunchError
from launcher.store.atomic import write_file
from launcher.store.owner import private_folder

FILE = "secrets.json"


@dataclass(frozen=True)
class _Kept:
    """`before`: what an edited profile replaced, until an attempt has trained with it."""

    now: Secrets
    before: Secrets | None = field(default=None)


def read(root: Path) -> Secrets:
    """Those of the run in this folder; empty when there are none. Raises `LaunchError`."""
    found = _read(root)
    return {} if found is None else found.now


def keep(root: Path, secrets: Secrets) -> None:
    """Raises `OSError`, `LaunchError`."""
    if secrets or _read(root) is not None:
        _write(root, _Kept(secrets))


def keep_edited(root: Path, secrets: Secrets, before: Secrets) -> None:
    """Those of an edited profile; `settle` keeps them or restores the ones before."""
    if secrets or before:
        _write(root, _Kept(secrets, before))


def settle(root: Path, *, keep: bool) -> None:
    found = _read(root)
    if found is not None and found.before is not None:
        _write(root, _Kept(found.now if keep else found.before))


def _read(root: Path) -> _Kept | None:
    file = private_folder(root) / FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            return from_plain(_Kept, json.loads(file.read_text()))
    except (OSError, ValueError, Mismatch) as error:
        raise LaunchError(f"{file} cannot be read: {type(error).__name__}") from None
    return None


def _write(root: Path, kept: _Kept) -> None:
    write_file(private_folder(root) / FILE, json.dumps(to_plain(kept)) + "\n")
