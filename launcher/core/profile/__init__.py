"""Cluster profiles: model, loading, checks, placement of ranks."""
