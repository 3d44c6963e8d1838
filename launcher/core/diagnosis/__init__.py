"""Which rank failed first and why; which rank hangs."""
