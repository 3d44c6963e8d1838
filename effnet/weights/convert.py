"""Weights under one set of names into weights under another. NumPy arrays only."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effnet.errors import EffnetError
from effnet.weights import names
from effnet.weights.names import Shape

Tensors = Mapping[str, NDArray[Any]]
Weights = dict[str, NDArray[np.float32]]

MAX_LINES = 10


class WeightsMismatch(EffnetError):
    """Tensors are missing, unexpected, misshapen or unusable: `problems` has all of them."""

    kind = "checkpoint"

    def __init__(self, what: str, problems: list[str], hint: str | None = None) -> None:
        self.problems = problems
        shown = problems if len(problems) <= MAX_LINES else problems[: MAX_LINES - 1]
        lines = "".join(f"\n  {problem}" for problem in shown)
        if len(shown) < len(problems):
            lines += f"\n  and {len(problems) - len(shown)} more"
        plural = "" if len(problems) == 1 else "s"
        super().__init__(f"{what}: {len(problems)} problem{plural}{lines}", hint=hint)


def to_ours(
    tensors: Tensors,
    source: str,
    variant: str,
    num_classes: int,
    *,
    strip_prefix: str | None = None,
    ema: bool = False,
) -> Weights:
    """Foreign names -> ours, as float32; raises `WeightsMismatch` with all that is wrong.

    `strip_prefix` selects the tensors whose names start with it (empty: those without a prefix),
    `ema` those of the moving average beside the weights.
    """
    table = names.tensor_names(source, variant, num_classes)
    expected = {t.theirs: t.their_shape for t in table}
    tensors = one_copy(tensors, expected, strip_prefix, ema)
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


def one_copy(
    tensors: Tensors, expected: Mapping[str, Shape], strip_prefix: str | None, ema: bool
) -> Tensors:
    """One copy of the weights, without its prefix. Raises `WeightsMismatch` if a flag must choose.

    A copy is there when most of the expected names are, each behind the same prefix (``module.``
    of DataParallel, ``_orig_mod.`` of torch.compile, ``state_dict_ema.``).
    """
    found: Counter[str] = Counter()
    ends: dict[str, list[str]] = {}
    for name in expected:
        ends.setdefault(name.rpartition(".")[2], []).append(name)
    for name in tensors:
        known = (end for end in ends.get(name.rpartition(".")[2], ()) if name.endswith(end))
        found.update({name.removesuffix(end) for end in known})
    copies = [prefix for prefix, count in found.items() if count > len(expected) / 2]
    averages = [prefix for prefix in copies if "ema" in prefix.lower()]
    if strip_prefix is None and ema:
        if len(averages) != 1:
            what = "no EMA copy" if not averages else f"{len(averages)} EMA copies"
            problem = f"the file has {what}; prefixes: {', '.join(map(repr, copies)) or 'none'}"
            raise WeightsMismatch("--ema", [problem], "name one with --strip-prefix")
        strip_prefix = averages[0]
    if strip_prefix is not None:
        cut = len(strip_prefix)
        rest = [other for other in copies if other.startswith(strip_prefix) and other[cut:]]
        return {
            name[cut:]: tensor
            for name, tensor in tensors.items()
            if name.startswith(strip_prefix) and not name.startswith(tuple(rest))
        }
    if copies and copies != [""]:
        hint = " or ".join(f"--strip-prefix '{prefix}'" for prefix in copies)
        problem = f"all names start with {copies[0]!r}"
        if len(copies) > 1:
            problem = f"it holds the weights {len(copies)} times, with the prefixes "
            problem += ", ".join(map(repr, copies))
        if averages:
            hint = f"--ema selects the moving average; {hint}"
        raise WeightsMismatch("the file needs a choice", [problem], f"add {hint}")
    return tensors


def from_ours(tensors: Tensors, target: str, variant: str, num_classes: int) -> Weights:
    """Our names -> foreign ones; other tensors (optimizer, EMA) are left out.

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
    faults: dict[str, list[str]] = {}
    for name, shape in expected.items():
        fault = _fault(name, tensors[name], shape) if name in tensors else None
        if fault is not None:
            faults.setdefault(fault, []).append(name)
    # One cause is one line: a file of float8 has the same fault in all of its tensors.
    for fault, where in faults.items():
        more = f" and {len(where) - 1} more tensors" if len(where) > 1 else ""
        problems.append(f"{where[0]}{more}: {fault}")
    if problems:
        raise WeightsMismatch(what, problems, hint=_hint(tensors, expected))


def _fault(name: str, tensor: NDArray[Any], shape: Shape) -> str | None:
    if tensor.shape != shape:
        return f"shape {_shape(tensor.shape)}, expected {_shape(shape)}"
    if not np.issubdtype(tensor.dtype, np.floating):
        return f"{tensor.dtype}, expected float16, bfloat16, float32 or float64"
    bad = tensor.size - int(np.isfinite(tensor).sum())
    if bad:
        return f"{bad} of {tensor.size} values are not finite"
    if name.endswith(("running_var", "moving_variance")) and bool((tensor < 0).any()):
        return "a variance is negative"
    return None


# How the first convolution is called by projects whose weights are not read here.
_OTHERS = {
    "lukemelas/EfficientNet-PyTorch": ("_conv_stem.",),
    "Keras": ("stem_conv/", "efficientnet-b"),
    "Hugging Face transformers": ("efficientnet.embeddings.",),
}


def _whose(tensors: Tensors) -> str:
    """Whose names these are, as a hint."""
    for source in names.SOURCES:
        if names.tensor_names(source, "b0", 1)[0].theirs in tensors:
            return f"these are {source}'s names: use --source {source}"
    for project, first in _OTHERS.items():
        if any(name.startswith(first) for name in tensors):
            return f"these are names of {project}, whose weights are not read here: use timm's"
    return "no name is known: check --source"


def _hint(tensors: Tensors, expected: Mapping[str, Shape]) -> str | None:
    """What one cause would explain most of a long list of problems."""
    known = sum(name in tensors for name in expected)
    if known == 0:
        return _whose(tensors)
    wrong = [n for n, s in expected.items() if n in tensors and tensors[n].shape != s]
    if wrong and all("classifier" in n or n.startswith("head.6.") for n in wrong):
        return f"check --num_classes: {wrong[0]} has {tensors[wrong[0]].shape[0]}"
    # A neighbouring variant has some blocks more or fewer, or is wider or narrower throughout.
    if max(len(wrong), len(expected) - known, len(tensors) - known) > 12:
        return "check --variant"
    return None


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
    return f" (nearest: {found[0]})" if found else ""


def _shape(shape: Iterable[int]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"
