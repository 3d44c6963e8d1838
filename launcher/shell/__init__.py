"""The launcher's outside: processes, sockets, files. What to do is decided in `launcher.core`."""
