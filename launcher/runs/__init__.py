"""Start, stop and resume runs, and follow those whose supervisor is on another machine."""
