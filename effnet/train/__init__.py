"""Training: what one rank of a data-parallel run does, and how it resumes."""
