"""JSON messages over Unix sockets, where those sockets are, and the operations of a node."""
