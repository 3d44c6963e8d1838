"""Evaluation, export and inference of what a run has trained: command, runner, follower."""
