"""SSH: connections, calls to `launcher.node`, file copies, where a run lies on a node."""
