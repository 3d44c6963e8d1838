"""Making a doctor's rows."""

from __future__ import annotations

from launcher.core.preflight.row import Row, RowState

CUDA_FIX = "cuda"
"""The fix that installs CUDA's libraries and the nvcc shim into the environment."""


def ok(check: str, node: str, text: str) -> Row:
    return Row(check, node, RowState.OK, text)


def failed(check: str, node: str, text: str, hint: str, fix: str = "") -> Row:
    return Row(check, node, RowState.FAILED, text, hint, fix)


def skipped(check: str, node: str, text: str) -> Row:
    return Row(check, node, RowState.SKIPPED, text)
