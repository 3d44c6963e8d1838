"""The training state: on the host, on the device."""
