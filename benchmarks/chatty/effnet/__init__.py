"""A trainer that only talks."""
