"""Communication between ranks: initialisation, groups, all-reduce through shared memory."""
