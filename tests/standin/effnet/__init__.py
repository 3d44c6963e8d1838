"""A stand-in for the trainer: same flags, environment, heartbeat, reports, checkpoints and stop
file, no MindSpore. A test's profile puts this folder's parent into PYTHONPATH, so that
`python -m effnet` is this. STANDIN_FAULTS says what goes wrong (see `faults.py`).
"""
