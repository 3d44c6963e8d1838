"""Jobs that another launcher started: their logs, read as a run that nothing can change."""
