"""The stand-in's cluster: a barrier that every rank comes to at each step, over TCP.

Ranks send a number; when all are there, each gets the greatest of them. A rank
that is gone leaves the others waiting, as MCCL's reduction does. It ends when all have said bye.
"""

import contextlib
import os
import selectors
import socket
import time


class Barrier:
    def __init__(self):
        address = (os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"]))
        self._sock = _connect(address)
        self._sock.settimeout(None)
        self._file = self._sock.makefile("rb")

    def wait(self, number):
        """Waits for all ranks. -> the greatest number of them; a flag is 0 or 1."""
        self._sock.sendall(b"%d\n" % number)
        answer = self._file.readline()
        if not answer:
            # The scheduler is gone: MCCL ends the process.
            raise ConnectionError("the scheduler is gone")
        return int(answer)

    def leave(self):
        """A rank that finds the scheduler gone fails, as MindSpore's do."""
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            if not self._sock.recv(1):
                raise ConnectionError("the scheduler is gone")
        self._sock.sendall(b"bye\n")
        self._sock.close()


def _connect(address):
    """The scheduler may not listen yet: MindSpore's ranks try again and again too."""
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(address, timeout=30)
        time.sleep(0.05)
    raise ConnectionRefusedError(f"no scheduler at {address}")


def main():
    world = int(os.environ["MS_WORKER_NUM"])
    server = socket.create_server((os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])))
    print(f"scheduler for {world} ranks", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    arrived = {}
    left = 0
    while left < world:
        for key, _ in selector.select():
            if key.fileobj is server:
                connection, _ = server.accept()
                selector.register(connection, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(64)
            except ConnectionResetError:
                data = b""  # a rank was killed: MindSpore's scheduler lives on for 30 s and more
            for word in data.split():
                if word == b"bye":
                    left += 1
                else:
                    arrived[key.fileobj] = word
            if not data:
                selector.unregister(key.fileobj)
        if len(arrived) == world:
            answer = b"%d\n" % max(map(int, arrived.values()))
            for connection in arrived:
                with contextlib.suppress(OSError):
                    connection.sendall(answer)
            arrived = {}


if __name__ == "__main__":
    main()
