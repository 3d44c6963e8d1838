"""Reading run directories: polled, incremental, never in the way of what writes them."""
