"""What lists and comparisons of runs read: configurations, kept summaries, where the time went."""
