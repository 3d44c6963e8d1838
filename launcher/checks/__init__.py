"""Preflight and doctor: asks all nodes, applies `launcher.core.checks`, reports rows."""
