"""Where the screens get their data: a live run, a replay, a recording."""
