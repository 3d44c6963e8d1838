"""Weights: names, files, manifests, and the ways between them."""
