from __future__ import annotations

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.vector_files import VectorFile, first_width, parts_of, read_part, vector_files


def save(folder, name: str, vectors: np.ndarray) -> str:
    np.savez(folder / name, ids=np.arange(len(vectors)), vectors=vectors)
    return str(folder / name)


def test_files_keep_their_order_and_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = vector_files(["b.npz", "a.tfrecord.gz", "gs://bucket/c.parquet"], "key")
    assert files == [
        VectorFile(0, "b.npz", str(tmp_path / "b.npz")),
        VectorFile(1, "a.tfrecord.gz", str(tmp_path / "a.tfrecord.gz")),
        VectorFile(2, "gs://bucket/c.parquet", "gs://bucket/c.parquet"),
    ]


def test_other_names_are_refused():
    with pytest.raises(ConfigurationError, match=r"key: 'x\.csv': vectors are read from \.parquet"):
        vector_files(["x.csv"], "key")


def test_the_first_vector_says_how_wide_all_are(tmp_path):
    names = [
        save(tmp_path, "none.npz", np.zeros((0, 7))),
        save(tmp_path, "three.npz", np.ones((2, 3))),
        save(tmp_path, "four.npz", np.ones((2, 4))),
    ]
    parts = [part for file in vector_files(names, "key") for part in parts_of(file)]
    assert first_width(parts, "key") == 3
    assert [len(block.entity_ids) for part in parts for block in read_part(part)] == [2, 2]
    with pytest.raises(CommandError, match=r"key: there are no vectors in .*none\.npz"):
        first_width(parts[:1], "key")
