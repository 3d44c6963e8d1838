"""Text and data formats that all of the core uses."""
