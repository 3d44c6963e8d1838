"""What the ssh program says when it fails, in our words."""

from __future__ import annotations

from launcher.core.profile.model import Node
from launcher.errors import HostKeyError
from launcher.remote.openssh import program

CHANGED = """\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
SHA256:N3RGYj0bN9dIbkJ5UwvLrkXfVZbCqQkE3kO0pQ2Vw1A.
Offending ED25519 key in /home/ada/.ssh/known_hosts:7
"""


def test_the_command_for_a_changed_key_has_the_name_that_known_hosts_has() -> None:
    for port, name in ((22, "10.0.0.1"), (2222, "[10.0.0.1]:2222")):
        error = program.failed(Node(address="10.0.0.1", port=port), CHANGED, "ssh")
        assert isinstance(error, HostKeyError)
        assert f"ssh-keygen -R '{name}'," in error.hint
