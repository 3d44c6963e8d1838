"""Training one rank of a data-parallel run, and going on with a broken one."""
