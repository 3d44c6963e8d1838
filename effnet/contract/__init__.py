"""What the trainer and its launcher share: reports, heartbeat, stop file, exit codes."""
