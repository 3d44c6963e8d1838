"""The run directory as it is written: atomic files, journal, event log, locks, limits."""
