"""A free port for the rendezvous of the ranks, reserved against our other runs."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

from launcher.errors import BusyError, UsageError
from launcher.ipc.socket_folder import runtime_folder
from launcher.machine.facts import MASTER_PORTS, bind_error
from launcher.process import file_lock

if TYPE_CHECKING:
    from launcher.core.profile.model import Profile


def claim(profile: Profile) -> PortClaim:
    """A port for the master of a profile, which is this machine. Raises as `PortClaim`."""
    address = profile.master.address or profile.nodes[0].address
    return PortClaim("127.0.0.1" if address == "localhost" else address)


class PortClaim:
    """A free port, reserved against our other runs until `release` or the end of this process.

    Raises `BusyError`, and `UsageError` for an address of another machine.
    """

    def __init__(self, address: str) -> None:
        self.port = 0
        folder = runtime_folder()
        error = bind_error(address, 0)
        if error is not None and error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"the master address {address} is not one of this machine's",
                "Set master.address to an address of a node.",
            )
        for port in random.sample(MASTER_PORTS, 200):
            self._fd = os.open(
                folder / f"port-{port}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
            )
            if file_lock.try_lock(self._fd) and bind_error(address, port) is None:
                self.port = port
                return
            os.close(self._fd)
        raise BusyError(f"no free port found on {address}", "Set master.port in the profile.")

    def release(self) -> None:
        (runtime_folder() / f"port-{self.port}").unlink(missing_ok=True)
        os.close(self._fd)
