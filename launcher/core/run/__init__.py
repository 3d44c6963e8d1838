"""Formats of the run directory: paths, events, metrics, reports, checkpoints."""
