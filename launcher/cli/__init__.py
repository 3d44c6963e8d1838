"""`effnet-launch`: the command line; a client of `launcher.client` and nothing else."""
