"""One training step: eager, as a graph, with data sink."""
