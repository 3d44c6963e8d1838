"""`--run_modelarts`: data copied in from a mounted folder, checkpoints copied out to one.

The reference does this with ModelArts' own library (moxing). Here the folders have to be mounted,
as ModelArts and others can do.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from effnet import flags
from effnet.errors import EffnetError, UsageError

FAST_DISK = Path("/cache")
"""ModelArts' local disk."""

_HINT = "mount it, or copy it with the vendor's own tool (obsutil, moxing), and use --dataset_path"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("mounted folders (the reference's ModelArts flags)")
    run = "copy data_url to a local disk before, and the checkpoints to train_url at the end"
    flags.add_truth(group, "run_modelarts", run)
    for name, what in (("data_url", "images"), ("train_url", "checkpoints")):
        flags.add(group, f"{name} DIR", f"mounted folder for {what}", default="")


def local_data(args: argparse.Namespace) -> str | None:
    """The folder of the images, copied to a local disk; `None` without `--run_modelarts`.

    Ranks of one machine share the copy, and a second run copies what changed. Raises `UsageError`.
    """
    if not args.run_modelarts:
        for name in ("data_url", "train_url"):
            if getattr(args, name):
                raise UsageError(
                    f"--{name} is for --run_modelarts True",
                    hint="for local folders use --dataset_path and --save_checkpoint_path",
                )
        return None
    if not args.data_url:
        raise UsageError("--run_modelarts needs --data_url, the mounted folder of the images")
    source = mounted("data_url", args.data_url)
    if args.train_url:
        mounted("train_url", args.train_url, make=True)
    disk = FAST_DISK if os.access(FAST_DISK, os.W_OK) else Path(tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:12]
    return str(copy_in(source, disk / f"effnet-data-{os.getuid()}-{digest}"))


def mounted(name: str, text: str, *, make: bool = False) -> Path:
    """The folder that a flag names. Raises `UsageError` for an address of an object store."""
    scheme, found, _ = text.partition("://")
    if found and scheme != "file":
        raise UsageError(f"--{name} {text}: {scheme} addresses can't be read here", hint=_HINT)
    path = Path(text.removeprefix("file://"))
    if make:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--{name} {text}: {error.strerror}") from error
    if not path.is_dir():
        raise UsageError(
            f"--{name} {text}: no such folder", hint="mount it first, or correct the path"
        )
    return path.absolute()


def copy_in(source: Path, target: Path) -> Path:
    """`target` becomes what `source` is; files of the same size and time are left as they are.

    One process at a time copies, others wait for it. Raises `EffnetError`.
    """
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.stat().st_uid != os.getuid():
            raise UsageError(
                f"{target} belongs to another user", hint="set TMPDIR to another folder"
            )
        with (target.parent / f"{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _mirror(source, target)
    except OSError as error:
        raise EffnetError(f"{source} can't be copied to {target}: {error}") from error
    return target


def _mirror(source: Path, target: Path) -> None:
    names = set()
    with os.scandir(source) as entries:
        for entry in entries:
            names.add(entry.name)
            here = target / entry.name
            if entry.is_dir():
                if here.is_symlink() or not here.is_dir():
                    here.unlink(missing_ok=True)
                    here.mkdir()
                _mirror(Path(entry.path), here)
            elif not _is_same(entry.stat(), here):
                shutil.copy2(entry.path, here)
    for extra in [path for path in target.iterdir() if path.name not in names]:
        if extra.is_dir() and not extra.is_symlink():
            shutil.rmtree(extra)
        else:
            extra.unlink()


def _is_same(theirs: os.stat_result, here: Path) -> bool:
    try:
        ours = here.stat()
    except OSError:
        return False
    # Mounted object stores keep whole seconds.
    return theirs.st_size == ours.st_size and int(theirs.st_mtime) == int(ours.st_mtime)


def copy_out(checkpoints: Path, text: str) -> Path | None:
    """The run's checkpoints into the folder that `--train_url` names, links as files.

    Object stores know no links. -> where they are now, `None` when there are none. Raises
    `EffnetError`.
    """
    if not checkpoints.is_dir():
        return None
    target = mounted("train_url", text, make=True) / "checkpoint"
    try:
        shutil.copytree(checkpoints, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    except (OSError, shutil.Error) as error:
        raise EffnetError(f"{checkpoints} can't be copied to {target}: {error}") from error
    return target
