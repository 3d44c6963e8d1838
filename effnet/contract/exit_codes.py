"""Exit codes: why a process failed (docs/report-format.md)."""

from __future__ import annotations

from effnet.errors import EffnetError

OTHER, CONFIG, DATA, LOSS, CHECKPOINT, DEVICE = 1, 2, 3, 4, 5, 6

_CODES = {"config": CONFIG, "data": DATA, "loss": LOSS, "checkpoint": CHECKPOINT, "device": DEVICE}

# By name, since most of these live behind imports that take seconds.
_KINDS = {
    "ConfigError": "config",
    "InvalidModel": "config",
    "UnknownVariant": "config",
    "UsageError": "config",
    "DataError": "data",
    "LossFault": "loss",
    "CheckpointFailed": "checkpoint",
    "CannotResume": "checkpoint",
    "StateMismatch": "checkpoint",
    "ManifestMissing": "checkpoint",
    "ManifestInvalid": "checkpoint",
    "CheckpointCorrupt": "checkpoint",
    "UnreadableWeights": "checkpoint",
    "WeightsMismatch": "checkpoint",
    "DeviceMissing": "device",
    "ProviderMissing": "device",
}


KINDS = (*_CODES, "other")
"""The values of `kind_of`, as in a fault line."""


def kind_of(error: EffnetError) -> str:
    """One of `KINDS`."""
    for cls in type(error).__mro__:
        if cls.__name__ in _KINDS:
            return _KINDS[cls.__name__]
    return "other"


def of(error: EffnetError) -> int:
    return _CODES.get(kind_of(error), OTHER)
