"""The reference's shell scripts: their arguments, and what they start (docs/reference.md)."""
