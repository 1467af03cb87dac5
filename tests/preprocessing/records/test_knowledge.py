from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.knowledge.vectors import KnowledgeRecord, write_knowledge
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import write_records


def record(
    entity: str, vector: list[float], extraction: str = "individual", **left_out: bool
) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    feature["entity_id"].bytes_list.value.append(entity.encode())
    feature["vector"].float_list.value.extend(vector)
    feature["extraction"].bytes_list.value.append(extraction.encode())
    if not left_out:
        feature["group_id"].bytes_list.value.append(b"g")
    return example.SerializeToString(deterministic=True)


def write(work_dir, *shards: list[bytes]) -> None:
    directory = WorkDirectory(work_dir).knowledge("item")
    for index, records in enumerate(shards):
        write_records(directory.shard(index, len(shards)), records)


def test_records_of_all_shards_are_read_in_order_of_their_ids(tmp_path):
    write(tmp_path, [record("b", [1, 2]), record("ä", [5, 6], "collective")], [record("a", [3, 4])])
    knowledge = read_knowledge(tmp_path, "item")
    assert knowledge.entity_ids == ["a", "b", "ä"]
    np.testing.assert_array_equal(knowledge.vectors, np.array([[3, 4], [1, 2], [5, 6]], np.float32))
    assert knowledge.extraction == ["individual", "individual", "collective"]
    assert knowledge.group_ids == ["g", "g", "g"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (record("b", [1, 2, 3]), "record 2: vector of width 3, the first one has 2"),
        (record("b", [1, np.nan]), "record 2: the vector holds a number that is not finite"),
        (record("a", [1, 2]), "record 2: a second record"),
        (record("b", []), "'vector' is not a list of floats"),
        (record("b", [1, 2], "guessed"), "extraction is 'guessed'"),
        (record("b", [1, 2], group_id=False), "feature 'group_id' is missing"),
        (b"\xff\xff", "not a knowledge record"),
    ],
)
def test_damaged_records_are_named(tmp_path, second, message):
    write(tmp_path, [record("a", [1, 2]), second])
    with pytest.raises(DamagedRecords, match=message):
        read_knowledge(tmp_path, "item")


def test_an_empty_source_has_no_vectors(tmp_path):
    write(tmp_path, [], [])
    assert read_knowledge(tmp_path, "item").entity_ids == []


def test_a_source_that_was_not_encoded_is_explained(tmp_path):
    with pytest.raises(DamagedRecords, match="no TFRecord files; run"):
        read_knowledge(tmp_path, "item")


def write_fold(work_dir, fold: int, records: list[bytes]) -> None:
    folder = WorkDirectory(work_dir).knowledge("item").path / f"without_fold_{fold}"
    write_records(folder / "part-00000-of-00001.tfrecord.gz", records)


def test_vectors_of_folds_stand_in_the_rows_of_those_from_all_users(tmp_path):
    write(tmp_path, [record("b", [1, 2]), record("a", [3, 4])])
    assert read_knowledge(tmp_path, "item").fold_vectors is None
    for fold in range(10):
        write_fold(
            tmp_path, fold, [record("b", [fold, 0.1]), *([record("a", [5, 6])] * (fold > 7))]
        )
    actual = read_knowledge(tmp_path, "item").fold_vectors
    assert actual is not None and actual.shape == (10, 2, 2) and actual.dtype == np.float16
    assert actual[:, 1, 0].tolist() == list(range(10))
    assert actual[:, 0].tolist() == [[0, 0]] * 8 + [[5, 6]] * 2


@pytest.mark.parametrize(
    ("third", "message"),
    [
        ([record("c", [1, 2])], "without_fold_3: a vector of an entity that has none from all"),
        ([record("a", [1, 2, 3])], "vector of width 3, the first one has 2"),
        (None, "without_fold_3: no TFRecord files"),
    ],
)
def test_damaged_folds_are_named(tmp_path, third, message):
    write(tmp_path, [record("a", [1, 2])])
    for fold in range(10):
        records = third if fold == 3 else []
        if records is not None:
            write_fold(tmp_path, fold, records)
    with pytest.raises(DamagedRecords, match=message):
        read_knowledge(tmp_path, "item")


def test_records_as_they_are_written_here_hold_what_tensorflow_reads_in_them(tmp_path):
    head = b"\n\x0e\n\x06vector\x12\x04\x12\x02\n\x00".decode()
    ids = ["7", "ä" * 200, head, "", *(f"item {number}" for number in range(300))]
    vectors = np.random.default_rng(5).standard_normal((len(ids), 3)).astype(np.float16)
    records = [
        KnowledgeRecord(entity, ("individual", "collective")[row % 2], "g" * (row % 140), vector)
        for row, (entity, vector) in enumerate(zip(ids, map(bytes, vectors), strict=True))
    ]
    path = WorkDirectory(tmp_path).knowledge("item").shard(0, 1)
    write_knowledge(str(path), records)
    knowledge = read_knowledge(tmp_path, "item")
    parsed = {}
    for serialized in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        texts = [feature[name].bytes_list.value[0].decode() for name in
                 ("entity_id", "extraction", "group_id")]  # fmt: skip
        parsed[texts[0]] = (*texts[1:], list(feature["vector"].float_list.value))
    assert list(parsed) == sorted(ids) == knowledge.entity_ids
    assert list(parsed.values()) == list(
        zip(knowledge.extraction, knowledge.group_ids, knowledge.vectors.tolist(), strict=True)
    )
