"""Whether what a run directory says is still so: its processes, Slurm's queue, its copy."""
