"""Work in a thread, so that a supervisor never waits for the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from launcher.errors import NodeError

R = TypeVar("R")


def in_thread(work: Callable[[], R]) -> Future[R]:
    """Calls `work` without blocking. All its errors are `NodeError`s."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except NodeError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 a thread's error must reach its supervisor
            future.set_exception(NodeError("", f"{type(error).__name__}: {error}"))

    threading.Thread(target=run, name="node", daemon=True).start()
    return future
