"""Evaluation of a trained network."""
