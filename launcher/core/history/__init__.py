"""Runs beside each other: summaries, filters, configurations, comparisons."""
