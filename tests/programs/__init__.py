"""Training scripts that know nothing of the launcher."""
