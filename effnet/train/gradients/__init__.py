"""Loss and gradients of a step, compiled once for all ranks of a machine and for the next start."""
