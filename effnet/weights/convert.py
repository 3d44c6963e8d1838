"""Weights under one set of names into weights under another. NumPy arrays only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effnet.errors import EffnetError
from effnet.weights import names
from effnet.weights.names import Shape

Tensors = Mapping[str, NDArray[Any]]
Weights = dict[str, NDArray[np.float32]]


class WeightsMismatch(EffnetError):
    """Tensors are missing, unexpected, misshapen or unusable; `problems` names each."""

    def __init__(self, what: str, problems: list[str], hint: str | None = None) -> None:
        self.problems = problems
        lines = "".join(f"\n  {problem}" for problem in problems)
        plural = "" if len(problems) == 1 else "s"
        super().__init__(f"{what}: {len(problems)} problem{plural}{lines}", hint=hint)


def to_ours(tensors: Tensors, source: str, variant: str, num_classes: int) -> Weights:
    """Foreign names -> ours, as float32; raises `WeightsMismatch` with all that is wrong."""
    table = names.tensor_names(source, variant, num_classes)
    expected = {t.theirs: t.their_shape for t in table}
    unused = names.unused_shapes(source, variant)
    present = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in unused and not names.is_bookkeeping(source, name)
    }
    check(present, expected, f"not {source}'s {variant} with {num_classes} classes")
    return {
        t.ours: np.ascontiguousarray(present[t.theirs], np.float32).reshape(t.shape) for t in table
    }


def from_ours(tensors: Tensors, target: str, variant: str, num_classes: int) -> Weights:
    """Our names -> foreign ones; what is none of the network's (optimizer, EMA) is left out.

    The tensors that the reference holds unused get the values they started with, so that its
    own loader finds all it looks for.
    """
    table = names.tensor_names(target, variant, num_classes)
    expected = {t.ours: t.shape for t in table}
    present = {name: tensor for name, tensor in tensors.items() if name in expected}
    check(present, expected, f"not our {variant} with {num_classes} classes")
    weights = {
        t.theirs: np.ascontiguousarray(present[t.ours], np.float32).reshape(t.their_shape)
        for t in table
    }
    for name, shape in names.unused_shapes(target, variant).items():
        one = name.endswith((".gamma", ".moving_variance"))
        weights[name] = np.full(shape, 1.0 if one else 0.0, np.float32)
    return weights


def check(tensors: Tensors, expected: Mapping[str, Shape], what: str) -> None:
    """Raise `WeightsMismatch` unless `tensors` are exactly those `expected`, and usable."""
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    problems = [
        f"missing {name}, shape {_shape(expected[name])}{_nearest(name, unexpected)}"
        for name in missing
    ]
    # Compared with all names, since what a stray tensor resembles may well be there too.
    problems += [
        f"unexpected {name}, shape {_shape(tensors[name].shape)}{_nearest(name, expected)}"
        for name in unexpected
    ]
    for name, shape in expected.items():
        if name in tensors:
            fault = _fault(name, tensors[name], shape)
            if fault is not None:
                problems.append(f"{name}: {fault}")
    if problems:
        raise WeightsMismatch(what, problems, hint=_hint(tensors, expected))


def _fault(name: str, tensor: NDArray[Any], shape: Shape) -> str | None:
    if tensor.shape != shape:
        return f"shape {_shape(tensor.shape)}, expected {_shape(shape)}"
    if not np.issubdtype(tensor.dtype, np.floating):
        return f"{tensor.dtype}, expected floating point"
    bad = tensor.size - int(np.isfinite(tensor).sum())
    if bad:
        return f"{bad} of {tensor.size} values are not finite"
    if name.endswith(("running_var", "moving_variance")) and bool((tensor < 0).any()):
        return "a variance is negative"
    return None


def _hint(tensors: Tensors, expected: Mapping[str, Shape]) -> str | None:
    """What one cause would explain most of a long list of problems."""
    known = sum(name in tensors for name in expected)
    if known == 0:
        return "no name is known: is --source right?"
    wrong = [n for n, s in expected.items() if n in tensors and tensors[n].shape != s]
    if wrong and all("classifier" in n or n.startswith("head.6.") for n in wrong):
        return f"is --num_classes right? {wrong[0]} has {tensors[wrong[0]].shape[0]}"
    # A neighbouring variant has some blocks more or fewer, or is wider or narrower throughout.
    if max(len(wrong), len(expected) - known, len(tensors) - known) > 12:
        return "is --variant right?"
    return None


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
    return f" (nearest: {found[0]})" if found else ""


def _shape(shape: Iterable[int]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"
