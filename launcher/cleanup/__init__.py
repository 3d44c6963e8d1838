"""What runs have left on nodes: found, ended, removed."""
