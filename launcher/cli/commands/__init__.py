"""The commands of `effnet-launch`, one module for each group."""
