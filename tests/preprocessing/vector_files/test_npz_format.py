from __future__ import annotations

import zipfile

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.vector_files import VectorFile, first_width, parts_of, read_part, vector_files


def file_of(tmp_path, save=np.savez, **arrays: np.ndarray) -> VectorFile:
    path = str(tmp_path / "vectors.npz")
    save(path, **arrays)
    return VectorFile(0, "vectors.npz", path)


def rows_of(file: VectorFile) -> list[tuple[str, list[float], str, str]]:
    rows = []
    for part in parts_of(file):
        for block in read_part(part):
            assert block.first_record == len(rows) + 1
            vectors = [vector.tolist() for vector in block.vectors]
            rows += zip(block.entity_ids, vectors, block.extractions, block.group_ids, strict=True)
    return rows


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32])
def test_vectors_are_read_in_blocks(tmp_path, save, order, kind):
    vectors = np.asarray(np.arange(2500 * 3).reshape(2500, 3) % 1000, dtype=kind, order=order)
    ids = np.array([f"ä{number}" for number in range(2500)])
    rows = rows_of(file_of(tmp_path, save, ids=ids, vectors=vectors))
    assert [row[0] for row in rows] == ids.tolist()
    assert [row[1] for row in rows] == vectors.tolist()
    assert {row[2:] for row in rows} == {("", "")}


def test_ids_may_be_numbers_and_groups_may_be_there(tmp_path):
    file = file_of(
        tmp_path,
        entity_id=np.array([7, 8]),
        vectors=np.eye(2),
        extraction=np.array(["individual", "collective"]),
        group_id=np.array([b"g1", b""]),
    )
    assert rows_of(file) == [
        ("7", [1.0, 0.0], "individual", "g1"),
        ("8", [0.0, 1.0], "collective", ""),
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.eye(2)}, "needs the arrays 'entity_id' and 'vectors'. Its arrays: vectors"),
        ({"ids": np.array(["a"])}, "needs the arrays"),
        ({"ids": np.array(["a"]), "vectors": np.ones(3)}, r"the shape \(3,\)"),
        ({"ids": np.array(["a"]), "vectors": np.array([["x"]])}, "not numbers"),
        ({"ids": np.array([1.5]), "vectors": np.eye(1)}, "not a list of texts or whole numbers"),
        ({"ids": np.array(["a", "b"]), "vectors": np.eye(1)}, "different numbers of records"),
        ({"ids": np.array(["a"]), "vectors": np.eye(2)}, "different numbers of records"),
        ({"ids": np.array(["a"], dtype=object), "vectors": np.eye(1)}, "allow_pickle=False"),
        ({"ids": np.array(["a"]), "vectors": np.eye(1, dtype=object)}, "not numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, message):
    with pytest.raises(CommandError, match=rf"vectors\.npz: .*{message}"):
        rows_of(file_of(tmp_path, **arrays))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_off_or_changed_file_is_named(tmp_path, save):
    rng = np.random.default_rng(1)
    ids = np.arange(3000)
    file = file_of(tmp_path, save, ids=ids, vectors=rng.normal(size=(3000, 4)))
    with open(file.path, "rb") as stream:
        whole = stream.read()
    for content in (b"", whole[: len(whole) // 2], whole[:-30]):
        with open(file.path, "wb") as stream:
            stream.write(content)
        with pytest.raises(CommandError, match=r"vectors\.npz: not a whole \.npz file"):
            rows_of(file)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    with open(file.path, "wb") as stream:
        stream.write(changed)
    with pytest.raises(CommandError, match=r"vectors\.npz: not a whole \.npz file"):
        rows_of(file)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 2), }",
        "{'descr': '<U8', 'fortran_order': False, 'shape': (10000000000000,), }",
        f"{{'descr': '<U8', 'fortran_order': False, 'shape': (1{'0' * 30},), }}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, True), }",
        "{'descr': '<,f4', 'fortran_order': False, 'shape': (2, 2), }",
        "{'descr': '<f4', 'fortran_order': (False, 'shape': (2, 2), }",
    ],
)
@pytest.mark.parametrize("name", ["ids", "vectors"])
def test_a_header_that_cannot_be_is_named(tmp_path, name, header):
    file = file_of(tmp_path, ids=np.array(["7", "8"]), vectors=np.eye(2, dtype=np.float32))
    with zipfile.ZipFile(file.path) as archive:
        arrays = {one: archive.read(one) for one in archive.namelist()}
    text = header.encode()
    arrays[f"{name}.npy"] = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(16)
    with zipfile.ZipFile(file.path, "w") as archive:
        for one, data in arrays.items():
            archive.writestr(one, data)
    with pytest.raises(CommandError, match=r"vectors\.npz: not a whole \.npz file"):
        rows_of(file)


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
