"""A run as one HTML file, made from its directory alone."""
