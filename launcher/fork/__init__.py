"""One process imports for the ranks of a node and forks them: what it and their agent share."""

from typing import Final

SOCKET_FD: Final = 3
MESSAGE_BYTES: Final = 1 << 16
ROOM: Final = "EFFNET_ROOM"
