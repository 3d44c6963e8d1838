"""The training state, in host memory or on the device."""
