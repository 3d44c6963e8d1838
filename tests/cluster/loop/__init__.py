"""Random faults on the four hosts, each with an outcome that is known before: `__main__.py`."""
