"""Whether a profile can be started: what nodes say of themselves in, rows out."""
