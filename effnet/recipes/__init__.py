"""Recipes: named sets of configuration values, which every other setting overrides."""

from __future__ import annotations

from pathlib import Path

NONE = "none"
RECIPES = ("reference", "tf", "ra", "best", "finetune")


def path(name: str) -> Path:
    """The file of a recipe, which is a configuration file like any other."""
    return Path(__file__).with_name(f"{name}.toml")
