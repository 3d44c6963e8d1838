"""Whole files: verified once while they do not change."""

from launcher.store import atomic


def test_a_file_is_digested_again_only_when_it_changed(tmp_path, monkeypatch):
    path = tmp_path / "step-00000001.ckpt"
    path.write_bytes(b"weights")
    read = []
    blocks_of = atomic.blocks_of
    monkeypatch.setattr(atomic, "blocks_of", lambda path: read.append(path) or blocks_of(path))
    first = atomic.content_of(path)
    assert atomic.content_of(path) == first
    assert len(read) == 1
    atomic.write_file(path, "damaged")
    second = atomic.content_of(path)
    assert second is not None
    assert second.sha256 != first.sha256
    path.unlink()
    assert atomic.content_of(path) is None
