"""A login that all processes of this user share: made once, by a person where it has to be.

Without a person only a login is tried that asks nothing, and one that was refused is not repeated
until a person has logged in: repeated failures could lock the account.
"""

from __future__ import annotations

import shlex
import time

from launcher.core.profile.model import Node
from launcher.errors import HostKeyError, LoginError, NodeError
from launcher.remote import host_keys
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.openssh import program
from launcher.remote.openssh.connection import SharedConnection
from launcher.remote.openssh.master import Master

AGAIN_S = 300.0
"""A login that was refused, and never needed a person, is tried again after this time."""
WAIT_S = 5.0


class Login:
    """Of one node, in one process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refused: NodeError | None = None
        self._refused_at = 0.0

    def connect(self, confirm_host: ConfirmHost | None = None) -> SharedConnection:
        """Uses the login that is there, or logs in. Raises `NodeError`.

        With `confirm_host` a person is at the terminal, whom ssh may ask.
        """
        # Not once for all: the runtime folder may go when the user logs out.
        master = Master(self._node)
        held = master.hold()
        if held is None:
            with master.locked(None if confirm_host else WAIT_S):
                # Another process may have been faster.
                if not master.is_open:
                    self._log_in(master, may_ask=confirm_host is not None)
                held = master.hold()
        if held is None:
            text = f"{program.words(self._node)}: the login ended at once"
            raise NodeError(self._node.label, text)
        self._refused = None
        return SharedConnection(self._node, master, held)

    def _log_in(self, master: Master, may_ask: bool) -> None:
        master.remove_dead()
        line = shlex.join(program.login_of_person(self._node, master.socket))
        if not may_ask and master.needs_person:
            text = f"{program.words(self._node)}: the login has ended, and a new one needs you"
            raise LoginError(self._node.label, text, f"Type: {line}")
        if self._refused is not None and time.monotonic() - self._refused_at < AGAIN_S:
            raise self._refused
        said = master.open()
        if not said:
            return
        error = program.failed(self._node, said, line)
        if not isinstance(error, (LoginError, HostKeyError)):
            raise error
        if not may_ask:
            self._refused, self._refused_at = error, time.monotonic()
            raise error
        with host_keys.ASKING:
            if not master.open_with_person():
                raise error
