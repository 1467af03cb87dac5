from __future__ import annotations

from pathlib import Path

from serving.server.model_versions import fingerprint


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    empty = fingerprint(tmp_path)
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    one = fingerprint(tmp_path)
    assert one == fingerprint(tmp_path) != empty
    (tmp_path / "variables" / "data").write_bytes(b"12")
    assert fingerprint(tmp_path) != one
    assert fingerprint(tmp_path / "nowhere") == frozenset()
