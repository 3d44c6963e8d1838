"""Gradients and evaluation as graphs, compiled once for a machine and for the next start."""
