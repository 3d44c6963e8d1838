"""The configuration of a training run: its keys, its defaults, and where values come from."""

from effnet.config.defaults import defaults_for
from effnet.config.load import Resolved, resolve
from effnet.config.resume import Difference, differences
from effnet.config.schema import TARGETS, TrainConfig, as_dict, keys
from effnet.config.values import ConfigError, Problem

__all__ = [
    "TARGETS",
    "ConfigError",
    "Difference",
    "Problem",
    "Resolved",
    "TrainConfig",
    "as_dict",
    "defaults_for",
    "differences",
    "keys",
    "resolve",
]
