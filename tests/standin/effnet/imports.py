"""Imported once a node by the process that forks the ranks. STANDIN_IMPORT: what goes wrong there.

kill (SIGKILL itself), raise, thread (starts one that stays), hang (says something, and never ends).
"""

import os
import signal
import threading
import time


def _hang():
    time.sleep(3600)


match os.environ.get("STANDIN_IMPORT", ""):
    case "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    case "raise":
        raise ImportError("a library is missing")
    case "thread":
        threading.Thread(target=_hang, daemon=True).start()
    case "hang":
        print("importing slowly", flush=True)
        _hang()
