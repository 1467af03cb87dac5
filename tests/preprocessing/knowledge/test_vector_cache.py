from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow.parquet
import pytest

from preprocessing import storage
from preprocessing.knowledge import vector_cache
from preprocessing.knowledge.vector_cache import (
    PREFIXES,
    DamagedCacheFile,
    SmallFiles,
    clear_damaged,
    describe_encoder,
    identity_hash,
    list_cache,
    prefix_of,
    read_table,
    select_vectors,
    text_hash,
    tokens_of,
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
    actual = {}
    for file in files:
        actual |= read_vectors(file.path, wanted)
    assert actual.keys() == {HASHES[4], HASHES[40]}
    np.testing.assert_array_equal(actual[HASHES[4]], VECTORS[4])
    np.testing.assert_array_equal(actual[HASHES[40]], VECTORS[40])


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
            actual = read_vectors(str(damaged), HASHES)
        except DamagedCacheFile:
            continue
        assert len(actual) == 50  # a bit that says nothing about hashes and vectors
        for digest, vector in zip(HASHES, VECTORS, strict=True):
            np.testing.assert_array_equal(actual[digest], vector)
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


SORTED_HASHES = sorted(text_hash(f"text {number}") for number in range(200))
SHORT_VECTORS = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float16)


def write(folder: str, first: int, end: int, texts_per_file: int = 2) -> None:
    for start in range(first, end, texts_per_file):
        rows = slice(start, min(start + texts_per_file, end))
        write_vectors(folder, SORTED_HASHES[rows], SHORT_VECTORS[rows], tokens=10)


def merge(folder: str, first: int = 0, last: int = PREFIXES - 1) -> None:
    small = SmallFiles(folder, first, last)
    for file in list_cache(folder):
        small.add(file, read_table(file.path))


def kept(folder: str) -> dict[bytes, list[float]]:
    collected: dict[bytes, np.ndarray] = {}
    for file in list_cache(folder):
        collected |= select_vectors(read_table(file.path), SORTED_HASHES)
    return {digest: vector.tolist() for digest, vector in collected.items()}


EVERYTHING = {
    digest: vector.tolist() for digest, vector in zip(SORTED_HASHES, SHORT_VECTORS, strict=True)
}


def test_many_small_files_become_few_and_nothing_is_lost(folder):
    write(folder, 0, 200)
    assert len(list_cache(folder)) == 100
    merge(folder)
    files = list_cache(folder)
    assert len(files) == 2 + 100 % 48  # merged ones, and those too few to merge
    assert kept(folder) == EVERYTHING
    assert sum(tokens_of(read_table(file.path)) for file in files) == 1000
    for file in files:
        hashes = read_table(file.path)["text_sha256"].to_pylist()
        assert hashes == sorted(hashes) and len(set(hashes)) == len(hashes)


def test_few_files_stay(folder):
    write(folder, 0, 94)
    before = list_cache(folder)
    assert len(before) == 47
    merge(folder)
    assert list_cache(folder) == before


def test_large_files_and_those_of_other_ranges_stay(folder, monkeypatch):
    monkeypatch.setattr(vector_cache, "_SMALL_TEXTS", 10)
    monkeypatch.setattr(vector_cache, "_FILES_PER_MERGE", 3)
    write(folder, 0, 40, texts_per_file=10)
    write(folder, 40, 200, texts_per_file=2)
    before = list_cache(folder)
    first, last = before[30].first, before[60].last
    merge(folder, first, last)
    inside = [file for file in before if first <= file.first and file.last <= last]
    left = set(list_cache(folder))
    assert set(before) - left < set(inside) and len(set(before) - left) >= 27
    assert kept(folder) == EVERYTHING


def test_texts_bound_a_merge(folder, monkeypatch):
    monkeypatch.setattr(vector_cache, "_TEXTS_PER_MERGE", 20)
    write(folder, 0, 200)
    merge(folder)
    assert [len(read_table(file.path)) for file in list_cache(folder)] == [20] * 10
    assert kept(folder) == EVERYTHING


@pytest.mark.parametrize("deletions", [0, 1, 20])
def test_a_run_that_breaks_off_loses_nothing(folder, monkeypatch, deletions):
    write(folder, 0, 200)
    delete_file, done = storage.delete_file, []

    def break_off(path):
        if len(done) == deletions:
            raise KeyboardInterrupt
        done.append(path)
        delete_file(path)

    monkeypatch.setattr(storage, "delete_file", break_off)
    with pytest.raises(KeyboardInterrupt):
        merge(folder)
    assert kept(folder) == EVERYTHING
    monkeypatch.setattr(storage, "delete_file", delete_file)
    for _ in range(3):
        merge(folder)
        assert kept(folder) == EVERYTHING
    assert len(list_cache(folder)) < 48


def test_a_merged_file_among_the_merged_is_not_deleted(folder, monkeypatch):
    write(folder, 0, 20)
    write(folder, 0, 20, texts_per_file=20)  # what a run left that could not delete the others
    monkeypatch.setattr(vector_cache, "_FILES_PER_MERGE", 11)
    merge(folder)
    (file,) = list_cache(folder)
    assert len(read_table(file.path)) == 20


def test_empty_files_and_other_widths_are_left_alone(folder, monkeypatch):
    monkeypatch.setattr(vector_cache, "_FILES_PER_MERGE", 2)
    write(folder, 0, 2)
    clear_damaged(list_cache(folder)[0].path)
    write(folder, 2, 4)
    write_vectors(folder, SORTED_HASHES[4:5], np.ones((1, 9), np.float16))
    before = list_cache(folder)
    merge(folder)
    assert list_cache(folder) == before


def test_another_run_may_have_deleted_a_file(folder):
    write(folder, 0, 200)
    small = SmallFiles(folder, 0, PREFIXES - 1)
    for number, file in enumerate(list_cache(folder)[:48]):
        table = read_table(file.path)
        if number == 5:
            storage.delete_file(file.path)
        small.add(file, table)
    assert kept(folder) == EVERYTHING
