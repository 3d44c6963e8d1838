"""`python -m launcher.agent`: one process per node and attempt; starts and ends its ranks."""
