"""Leftovers of runs on nodes: found, ended, removed."""
