from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.answers.importing import written_whole


def test_files_appear_when_all_are_complete(tmp_path):
    out = tmp_path / "deep" / "out"
    with written_whole(out, ["a", "b"]) as hidden:
        (hidden / "a").write_text("1")
        (hidden / "b").write_text("2")
        assert not (out / "a").exists()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}
    with pytest.raises(RuntimeError):
        with written_whole(out, ["a"]) as hidden:
            (hidden / "a").write_text("new")
            raise RuntimeError
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ConfigurationError, match="this is a file"):
        with written_whole(tmp_path / "out", []):
            pass
