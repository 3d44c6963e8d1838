"""Start, stop and resume, called by clients; runs whose supervisor is on another machine."""
