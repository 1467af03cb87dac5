from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow.parquet
import pytest

from preprocessing.knowledge import vector_cache
from preprocessing.knowledge.vector_cache import (
    DamagedCacheFile,
    clear_damaged,
    describe_encoder,
    identity_hash,
    list_cache,
    prefix_of,
    read_table,
    select_vectors,
    text_hash,
    write_vectors,
)
from tests.preprocessing import shared_file_system

HASHES = [text_hash(f"text {number}") for number in range(50)]
VECTORS = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float16)


def read_vectors(path: str, wanted: list[bytes]) -> dict[bytes, np.ndarray]:
    return select_vectors(read_table(path), wanted)


@pytest.fixture(params=["local", "url"])
def folder(request, tmp_path, monkeypatch) -> str:
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    return "shared://a/cache" if request.param == "url" else str(tmp_path / "a[1]" / "cache")


def test_vectors_come_back_by_the_hash_of_their_text(folder):
    assert list_cache(folder) == []
    write_vectors(folder, HASHES[:30], VECTORS[:30])
    write_vectors(folder, HASHES[30:], VECTORS[30:])
    describe_encoder(folder, {"kind": "toy"})
    files = list_cache(folder)
    assert len(files) == 2
    wanted = [HASHES[4], HASHES[40], text_hash("never encoded")]
    found = {}
    for file in files:
        found |= read_vectors(file.path, wanted)
    assert found.keys() == {HASHES[4], HASHES[40]}
    np.testing.assert_array_equal(found[HASHES[4]], VECTORS[4])
    np.testing.assert_array_equal(found[HASHES[40]], VECTORS[40])


def test_the_name_says_which_hashes_may_be_inside(tmp_path):
    assert HASHES[0] == hashlib.sha256(b"text 0").digest()
    assert prefix_of(bytes([1, 2]) + bytes(30)) == 258
    write_vectors(str(tmp_path), HASHES, VECTORS)
    (file,) = list_cache(str(tmp_path))
    prefixes = [prefix_of(digest) for digest in HASHES]
    assert (file.first, file.last) == (min(prefixes), max(prefixes))


def test_the_same_texts_give_the_same_file(tmp_path):
    order = np.random.default_rng(2).permutation(50)
    write_vectors(str(tmp_path / "one"), HASHES, VECTORS)
    write_vectors(str(tmp_path / "two"), [HASHES[row] for row in order], VECTORS[order])
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    ]
    assert contents[0] == contents[1] and len(contents[0]) == 1


def test_what_was_paid_is_kept_with_the_file(tmp_path):
    write_vectors(str(tmp_path), HASHES, VECTORS, tokens=123)
    (file,) = list_cache(str(tmp_path))
    metadata = pyarrow.parquet.read_schema(file.path).metadata
    assert metadata[b"tokens"] == b"123"


def test_damage_anywhere_is_noticed(tmp_path):
    write_vectors(str(tmp_path), HASHES, VECTORS)
    (file,) = list_cache(str(tmp_path))
    with open(file.path, "rb") as stream:
        whole = stream.read()
    damaged = tmp_path / "damaged.parquet"
    for place in range(0, len(whole), 37):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        damaged.write_bytes(changed)
        try:
            found = read_vectors(str(damaged), HASHES)
        except DamagedCacheFile:
            continue
        assert len(found) == 50  # a bit that says nothing about hashes and vectors
        for digest, vector in zip(HASHES, VECTORS, strict=True):
            np.testing.assert_array_equal(found[digest], vector)
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:size])
        with pytest.raises(DamagedCacheFile):
            read_vectors(str(damaged), HASHES)


def test_a_damaged_file_can_be_cleared(tmp_path):
    write_vectors(str(tmp_path), HASHES, VECTORS)
    (file,) = list_cache(str(tmp_path))
    clear_damaged(file.path)
    assert list_cache(str(tmp_path)) == [file]
    assert read_vectors(file.path, HASHES) == {}


def test_a_missing_file_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_vectors(str(tmp_path / "absent.parquet"), HASHES)


def test_other_files_are_left_alone(tmp_path):
    for name in (
        "0000-ffff.parquet",
        "notes.parquet",
        "0000-ffff-0123456789abcdef.parquet.1.partial",
    ):
        (tmp_path / name).write_bytes(b"x")
    assert list_cache(str(tmp_path)) == []


def test_every_part_of_the_identity_counts():
    identity = {"kind": "minilm", "maximum_tokens": 256}
    name = identity_hash(identity)
    assert name.startswith("minilm-") and name == identity_hash(dict(reversed(identity.items())))
    assert identity_hash(identity | {"maximum_tokens": 255}) != name


def test_the_folder_says_whose_vectors_it_holds(tmp_path):
    describe_encoder(str(tmp_path / "x"), {"kind": "toy", "model": "Größe"})
    written = json.loads((tmp_path / "x" / vector_cache._DESCRIPTION).read_text())
    assert written == {"kind": "toy", "model": "Größe"}
