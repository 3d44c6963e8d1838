"""Values and rules without I/O: profile, plan, tables, run formats, diagnosis, checks, text."""
