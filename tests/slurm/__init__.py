"""Runs on a real Slurm of namespace hosts."""
