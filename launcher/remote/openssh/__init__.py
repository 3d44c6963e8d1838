"""SSH through the ssh program: one login per node, which all commands share."""
