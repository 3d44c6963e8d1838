"""Claims of the scheduler's port."""

from __future__ import annotations

import pytest

from launcher.errors import BusyError
from launcher.planning import port as planning_port


def test_two_port_claims_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    claims = [planning_port.PortClaim("127.0.0.1") for _ in range(3)]
    assert len({claim.port for claim in claims}) == 3
    for claim in claims:
        claim.release()


def test_no_free_port_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(planning_port, "_is_free", lambda address, port: False)
    with pytest.raises(BusyError, match="no free port"):
        planning_port.PortClaim("127.0.0.1")
