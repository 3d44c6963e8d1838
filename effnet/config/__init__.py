"""The configuration of a training run: its keys, its defaults, and where values come from."""

from effnet.config.defaults import defaults_for
from effnet.config.load import Resolved, from_toml, resolve, to_toml
from effnet.config.resume import Difference, compatible_for_resume, differences
from effnet.config.schema import TARGETS, TrainConfig, as_dict, keys, types
from effnet.config.values import ConfigError, Problem

__all__ = [
    "TARGETS",
    "ConfigError",
    "Difference",
    "Problem",
    "Resolved",
    "TrainConfig",
    "as_dict",
    "compatible_for_resume",
    "defaults_for",
    "differences",
    "from_toml",
    "keys",
    "resolve",
    "to_toml",
    "types",
]
