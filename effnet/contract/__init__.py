"""What the trainer and whoever runs it agree on: report lines, heartbeat, stop file, exit codes."""
