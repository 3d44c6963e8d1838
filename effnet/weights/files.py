"""Files of named tensors: .safetensors, and MindSpore's .ckpt. Neither is a pickle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load_file, save_file

from effnet import missing
from effnet.errors import EffnetError, first_line

_NAME_HINT = "name a file that ends in .safetensors or .ckpt"


class UnreadableWeights(EffnetError):
    """The file is absent, of a kind that is not read here, or damaged."""

    kind = "checkpoint"


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a .safetensors or .ckpt file by name; raises `UnreadableWeights`."""
    known = path.suffix.lower() in _FORMATS
    if not path.is_file() and (known or not path.exists()):
        raise UnreadableWeights(f"{path}: no such file", hint=missing.hint(path))
    if not known:
        raise UnreadableWeights(f"{path}: not a .safetensors or .ckpt file", hint=_hint(path))
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            what = f"{path}: a Git LFS pointer, not the file itself"
            raise UnreadableWeights(what, hint="run `git lfs pull` in its repository")
    try:
        return _FORMATS[path.suffix.lower()][0](path)
    except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
        raise UnreadableWeights(f"{path}: cannot be read: {first_line(error)}") from error


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a .safetensors or .ckpt file as `replacing` does; raises `UnreadableWeights`."""
    if path.suffix.lower() not in _FORMATS:
        raise UnreadableWeights(f"{path}: not a .safetensors or .ckpt file", hint=_NAME_HINT)
    with replacing(path) as aside:
        _FORMATS[path.suffix.lower()][1](aside, tensors)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to; that file then replaces `path`, synced, its mode from the umask.

    So a file called `path` is never half a file. When the block raises, `path` is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        # MindSpore writes its files 0400, whatever the umask.
        aside.chmod(0o666 & ~_umask())
        _sync(aside)
        aside.replace(path)
        _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_LFS = b"version https://git-lfs"
_PICKLES = (".pth", ".pt", ".bin", ".tar", ".pkl", ".pickle", ".t7")


def _hint(path: Path) -> str:
    """How to make a file that can be read of one that is a pickle."""
    if path.suffix.lower() not in _PICKLES:
        return _NAME_HINT
    out = path.name.split(".")[0] + ".safetensors"
    return (
        f"a {path.suffix} file is a pickle, which can run code when it is read; where PyTorch and"
        " safetensors are installed, convert it:\n"
        f'  python -c "import torch; from safetensors.torch import save_file;'
        f" t = torch.load({path.name!r}, map_location='cpu', weights_only=True);"
        " save_file({k: v.contiguous() for k, v in t.get('state_dict', t).items()},"
        f' {out!r})"'
    )


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors; bfloat16 as float32, which holds the same values."""
    try:
        tensors = load_file(path)
        if not any(tensor.dtype.name == "bfloat16" for tensor in tensors.values()):
            return tensors
    except (AttributeError, KeyError, TypeError):
        pass  # without ml-dtypes, NumPy has no bfloat16
    found = {}
    items = deserialize(path.read_bytes())
    others = sorted({item["dtype"] for _, item in items} - {"BF16", *_DTYPES})
    if others:
        raise UnreadableWeights(
            f"{path}: has tensors of type {', '.join(others)}, which are not read",
            hint="save them as float32 or bfloat16: quantised weights need their scales",
        )
    for name, item in items:
        if item["dtype"] == "BF16":
            halves = np.frombuffer(item["data"], "<u2").astype(np.uint32) << 16
            found[name] = halves.view(np.float32).reshape(item["shape"])
        else:
            found[name] = np.frombuffer(item["data"], _DTYPES[item["dtype"]]).reshape(item["shape"])
    return found


_DTYPES = {"BOOL": "?", "U8": "u1", "I8": "i1"}
_DTYPES |= {f"{kind.upper()}{8 * size}": f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)}
_DTYPES |= {f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)}


def _read_ckpt(path: Path) -> dict[str, NDArray[Any]]:
    import mindspore as ms  # slow to import, and not needed for .safetensors

    return {name: p.asnumpy() for name, p in ms.load_checkpoint(str(path)).items()}


def _write_ckpt(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    import mindspore as ms

    entries = [{"name": name, "data": ms.Tensor(value)} for name, value in tensors.items()]
    ms.save_checkpoint(entries, str(path))


def _write_safetensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    # PyTorch's readers look for this key.
    save_file(dict(tensors), path, metadata={"format": "pt"})


_Reader = Callable[[Path], dict[str, NDArray[Any]]]
_Writer = Callable[[Path, Mapping[str, NDArray[np.float32]]], None]
_FORMATS: dict[str, tuple[_Reader, _Writer]] = {
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".ckpt": (_read_ckpt, _write_ckpt),
}
