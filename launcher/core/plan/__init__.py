"""The launch plan: what an attempt writes and runs, made from a profile."""
