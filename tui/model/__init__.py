"""What the screens show: frozen records, no I/O."""
