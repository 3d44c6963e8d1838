"""A record file after a torn write and on a full disk."""

from __future__ import annotations

import os

from launcher.store.record_file import RecordFile


def test_a_record_file_cuts_a_torn_record_and_waits_for_space(tmp_path, monkeypatch):
    path = tmp_path / "metrics.bin"
    path.write_bytes(b"a" * 8 + b"torn")
    records = RecordFile(path, 8)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    records.append(b"b" * 8)
    records.flush()
    assert records.trouble is not None
    monkeypatch.setattr(os, "pwrite", real)
    records.append(b"c" * 8)
    records.flush()
    assert records.trouble is None
    records.close()
    assert path.read_bytes() == b"a" * 8 + b"b" * 8 + b"c" * 8
