"""JSON messages over Unix sockets, and where those sockets are."""
