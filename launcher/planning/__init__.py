"""What an attempt needs before it begins: facts of nodes, port, checkpoint, restart policy."""
