"""A slow link: passes on what comes, each piece a fixed time later: PORT SECONDS."""

import contextlib
import socket
import sys
import threading
import time
from queue import Queue


def pass_on(source, target, delay_s):
    pieces = Queue()

    def send():
        while (piece := pieces.get()) is not None:
            due_s, data = piece
            time.sleep(max(0.0, due_s - time.monotonic()))
            try:
                target.sendall(data)
            except OSError:
                return
        target.close()

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            pieces.put((time.monotonic() + delay_s, data))
    pieces.put(None)


def connect(port):
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        time.sleep(0.05)
    raise SystemExit(f"no scheduler at port {port}")


def main():
    port, delay_s = int(sys.argv[1]), float(sys.argv[2])
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    near, _ = server.accept()
    far = connect(port)
    far.settimeout(None)
    threads = [
        threading.Thread(target=pass_on, args=(near, far, delay_s)),
        threading.Thread(target=pass_on, args=(far, near, delay_s)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
