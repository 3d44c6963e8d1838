"""`python -m launcher.node`: runs on a node at the end of an SSH connection, for one request."""
