"""Widgets that draw their own lines, for everything that is redrawn often."""
