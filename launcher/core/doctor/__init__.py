"""What MindSpore's back end for a device lacks on a node: facts in, rows out, in loading order."""
