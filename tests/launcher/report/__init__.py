"""Reports and bundles of runs."""
