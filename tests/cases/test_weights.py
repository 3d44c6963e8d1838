"""Weights as other projects write them: taken, or refused with the one cause."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("safetensors")

import numpy as np
from safetensors.numpy import save_file

from effnet.weights import convert, files
from effnet.weights.convert import WeightsMismatch, to_ours
from effnet.weights.files import UnreadableWeights, read_tensors
from effnet.weights.names import tensor_names

Tensors = dict[str, Any]


@pytest.fixture(scope="module")
def base() -> Tensors:
    rng = np.random.default_rng(0)
    found = {}
    for item in tensor_names("timm", "b0", 10):
        values = rng.standard_normal(item.their_shape).astype(np.float32) * 0.02
        found[item.theirs] = np.abs(values) + 1 if "running_var" in item.theirs else values
    return found


def bf16(path: Path, tensors: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Path:
    """A file of bfloat16 tensors, as PyTorch writes them, and of others."""
    header, blobs, offset = {}, [], 0
    for name, values in tensors.items():
        raw = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        ends = [offset, offset + len(raw)]
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": ends}
        offset += len(raw)
        blobs.append(raw)
    for name, values in (others or {}).items():
        raw = values.tobytes()
        kind = f"{values.dtype.kind.upper()}{8 * values.dtype.itemsize}"
        ends = [offset, offset + len(raw)]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": ends}
        offset += len(raw)
        blobs.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return path


@pytest.mark.parametrize("has_ml_dtypes", [True, False])
def test_023_bf16_safetensors(
    base: Tensors, tmp_path: Path, has_ml_dtypes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_ml_dtypes:

        def load_file(path: Path) -> Tensors:
            raise AttributeError("module 'ml_dtypes' has no attribute 'bfloat16'")

        monkeypatch.setattr(files, "load_file", load_file)
    tensors = read_tensors(bf16(tmp_path / "b.safetensors", base))
    ours = to_ours(tensors, "timm", "b0", 10)
    assert {values.dtype.name for values in ours.values()} == {"float32"}
    first = tensors["conv_stem.weight"]
    assert np.abs(first - base["conv_stem.weight"]).max() < 1e-3


@pytest.mark.parametrize("rest", ["F32", "F16", "F64", "I64"])
def test_023_bf16_beside_other_types(base: Tensors, tmp_path: Path, rest: str) -> None:
    """Mixed precision: norms in another type; PyTorch's counters of batches are integers."""
    path = tmp_path / "b.safetensors"
    other = {name: values for name, values in base.items() if ".bn" in name}
    if rest == "I64":
        other = {"bn1.num_batches_tracked": np.array(5)}
    else:
        kind = {"F32": np.float32, "F16": np.float16, "F64": np.float64}[rest]
        other = {name: values.astype(kind) for name, values in other.items()}
    bf16(path, {name: values for name, values in base.items() if name not in other}, other)
    ours = to_ours(read_tensors(path), "timm", "b0", 10)
    plain = to_ours(base, "timm", "b0", 10)
    assert all(np.allclose(ours[name], plain[name], rtol=1e-2, atol=1e-3) for name in plain)


def of_type(path: Path, tensors: Tensors, kind: str) -> Path:
    """A file of tensors of one byte a value, whose header calls their type ``kind``."""
    bytes_ = {name: np.ones(values.shape, np.uint8) for name, values in tensors.items()}
    raw = bf16(path, {}, bytes_).read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = raw[8:end].replace(b'"U8"', f'"{kind}"'.encode())
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[end:])
    return path


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2"])
def test_023_float8_is_refused_with_a_reason(base: Tensors, tmp_path: Path, kind: str) -> None:
    with pytest.raises(UnreadableWeights, match=f"type {kind}, which are not read") as caught:
        read_tensors(of_type(tmp_path / "b.safetensors", base, kind))
    assert "float32 or bfloat16" in str(caught.value.hint)


def test_023_a_type_that_all_tensors_have_is_one_line(base: Tensors, tmp_path: Path) -> None:
    tensors = read_tensors(of_type(tmp_path / "b.safetensors", base, "I8"))
    with pytest.raises(WeightsMismatch, match="more tensors: int8, expected float16") as caught:
        to_ours(tensors, "timm", "b0", 10)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("first", "hint"),
    [
        ("features.0.0.weight", "use --source torchvision"),
        ("_conv_stem.weight", "lukemelas/EfficientNet-PyTorch, whose weights are not read"),
        ("efficientnet.embeddings.convolution.weight", "Hugging Face transformers"),
        ("backbone.stem.weight", "no name is known: check --source"),
    ],
)
def test_024_names_of_another_project_are_a_few_lines(base: Tensors, first: str, hint: str) -> None:
    tensors = {f"x{number}.y": values for number, values in enumerate(base.values())}
    tensors[first] = np.zeros((32, 3, 3, 3), np.float32)
    with pytest.raises(WeightsMismatch) as caught:
        to_ours(tensors, "timm", "b0", 10)
    assert hint in str(caught.value.hint)
    assert len(str(caught.value).splitlines()) <= 12
    assert len(caught.value.problems) > 300


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "state_dict.", "net/"]
)
def test_024_weights_prefixes(base: Tensors, prefix: str) -> None:
    tensors = {prefix + name: values for name, values in base.items()}
    with pytest.raises(WeightsMismatch) as caught:
        to_ours(tensors, "timm", "b0", 10)
    assert caught.value.problems == [f"all names start with {prefix!r}"]
    assert f"--strip-prefix '{prefix}'" in str(caught.value.hint)
    taken = to_ours(tensors, "timm", "b0", 10, strip_prefix=prefix)
    plain = to_ours(base, "timm", "b0", 10)
    assert all(np.array_equal(taken[name], plain[name]) for name in plain)


@pytest.mark.parametrize(("one", "ema"), [("", "state_dict_ema."), ("model.", "model_ema.module.")])
def test_024_an_ema_copy_beside_the_weights(base: Tensors, one: str, ema: str) -> None:
    average = {name: values + 1 for name, values in base.items()}
    tensors = {one + name: values for name, values in base.items()}
    tensors |= {ema + name: values for name, values in average.items()}
    with pytest.raises(WeightsMismatch, match="2 times") as caught:
        to_ours(tensors, "timm", "b0", 10)
    assert "--ema" in str(caught.value.hint)
    for options, expected in (({"ema": True}, average), ({"strip_prefix": one}, base)):
        taken = to_ours(tensors, "timm", "b0", 10, **options)
        plain = to_ours(expected, "timm", "b0", 10)
        assert all(np.array_equal(taken[name], plain[name]) for name in plain)


def test_024_ema_of_a_file_without_ema(base: Tensors) -> None:
    with pytest.raises(WeightsMismatch, match="no EMA copy"):
        to_ours(base, "timm", "b0", 10, ema=True)


def test_024_other_mistakes_are_still_reported(base: Tensors) -> None:
    with pytest.raises(WeightsMismatch, match="not timm's b0"):
        to_ours({**base, "extra": np.zeros(1, np.float32)}, "timm", "b0", 10)
    assert convert.one_copy(base, dict.fromkeys(base, ()), None, False) is base


def test_024_an_upper_case_suffix(base: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "UP.SAFETENSORS"
    save_file(base, path)
    assert len(read_tensors(path)) == len(base)


def test_024_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "lfs.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 21000000\n")
    with pytest.raises(UnreadableWeights, match="Git LFS pointer") as caught:
        read_tensors(path)
    assert "git lfs pull" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["b2.pth", "model_best.pth.tar", "pytorch_model.bin", "B2.PT"])
def test_024_pickles_are_refused_with_the_command_to_convert(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04x")
    with pytest.raises(UnreadableWeights) as caught:
        read_tensors(path)
    assert "save_file" in str(caught.value.hint)
    assert name in str(caught.value.hint)
