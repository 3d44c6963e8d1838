"""Ranks that train together: meeting, groups, all-reduce through shared memory."""
