"""What `effnet-launch` prints: text, tables and cards."""
