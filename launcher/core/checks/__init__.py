"""Rules of preflight and doctor: facts of nodes in, rows out."""
