"""A supervisor that is the batch step of a Slurm job: the job, its nodes, its agents."""
