"""The model zoo's shell scripts, translated to the commands of `effnet-launch`."""
