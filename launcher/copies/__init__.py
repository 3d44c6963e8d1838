"""Copies of checkpoints on a second node, made while a run trains."""
