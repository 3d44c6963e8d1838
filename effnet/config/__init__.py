"""The configuration of a training run: its keys, its defaults, and where values come from."""

from effnet.config.load import Resolved, resolve
from effnet.config.schema import TARGETS, TrainConfig, as_dict, keys
from effnet.config.values import ConfigError, Problem

__all__ = [
    "TARGETS",
    "ConfigError",
    "Problem",
    "Resolved",
    "TrainConfig",
    "as_dict",
    "keys",
    "resolve",
]
