"""Writes CHATTY_LINES lines of 100 bytes as fast as it can, between two with the time."""

import os
import time

COUNT = int(os.environ["CHATTY_LINES"])
os.write(1, f"begin {time.time()}\n".encode())
for first in range(0, COUNT, 1000):
    lines = (f"line {number} ".ljust(99, ".") for number in range(first, first + 1000))
    data = ("\n".join(lines) + "\n").encode()
    while data:
        data = data[os.write(1, data) :]
os.write(1, f"end {time.time()}\n".encode())
time.sleep(1)
