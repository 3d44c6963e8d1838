"""Claims of the scheduler's port."""

from __future__ import annotations

import pytest

from launcher.errors import BusyError, UsageError
from launcher.planning import port as planning_port


def test_reserved_ports_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    claims = [planning_port.PortClaim("127.0.0.1") for _ in range(3)]
    assert len({claim.port for claim in claims}) == 3
    for claim in claims:
        claim.release()


def test_no_free_port_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(planning_port, "bind_error", lambda address, port: OSError(98, "in use"))
    with pytest.raises(BusyError, match="no free port"):
        planning_port.PortClaim("127.0.0.1")


def test_an_address_of_another_machine_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"192\.0\.2\.1 is not one of this machine's"):
        planning_port.PortClaim("192.0.2.1")
