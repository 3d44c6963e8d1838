"""`python -m launcher.supervisor RUN`: one process per run; attempts, agents, the event log."""
