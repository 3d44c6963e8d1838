"""The run directory as it is read: incremental, without disturbing its writers."""
