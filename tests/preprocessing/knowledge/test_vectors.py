from __future__ import annotations

import numpy as np
import tensorflow as tf

from preprocessing.answers.record import Answer, Place
from preprocessing.knowledge.vectors import (
    KnowledgeRecord,
    round_vectors,
    usable_vectors,
    write_knowledge,
)


def answer(number: int) -> Answer:
    return Answer("item", str(number), "individual", "", place=Place("file", number))


def test_vectors_without_content_are_rejected_after_rounding():
    vectors = np.array(
        [[1.0, 0.1], [0.0, -0.0], [np.nan, 1.0], [70000.0, 1.0], [1e-9, 0.0], [1.0, 1.0]],
        np.float32,
    )
    rounded, good = round_vectors(vectors)
    assert good.tolist() == [True, False, False, False, False, True]
    answers = [[answer(number)] for number in range(5)] + [[answer(5), answer(6)]]
    usable, dead_letters = usable_vectors(answers, rounded, {})
    assert [found.entity_id for found, _ in usable] == ["0", "5", "6"]
    assert np.frombuffer(usable[0][1], np.float16).tolist() == [1.0, float(np.float16(0.1))]
    assert usable[1][1] == usable[2][1]
    assert [(letter["line"], letter["reason"]) for letter in dead_letters] == [
        (1, "zero_vector"),
        (2, "non_finite_vector"),
        (3, "non_finite_vector"),  # beyond float16's largest number, 65504
        (4, "zero_vector"),  # below float16's smallest number, 6e-8
    ]


def test_what_the_encoder_refused_has_its_own_reason():
    rounded, _ = round_vectors(np.full((2, 3), np.nan))
    usable, dead_letters = usable_vectors([[answer(1)], [answer(2)]], rounded, {1: "too long"})
    assert not usable
    assert [(letter["reason"], letter["detail"]) for letter in dead_letters] == [
        ("non_finite_vector", "a number of the vector is not finite in float16"),
        ("encoder_refused", "too long"),
    ]


def test_records_are_sorted_and_readable(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    records = [
        KnowledgeRecord(entity, extraction, group, np.array(vector, np.float16).tobytes())
        for entity, extraction, group, vector in [
            ("b", "collective", "g1", [0.5, 2.0]),
            ("a", "individual", "", [-1.0, 0.25]),
        ]
    ]
    assert [found.entity_id for found in write_knowledge(str(path), records)] == ["a", "b"]
    read = []
    for serialized in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        read.append(
            (
                feature["entity_id"].bytes_list.value[0],
                list(feature["vector"].float_list.value),
                feature["extraction"].bytes_list.value[0],
                feature["group_id"].bytes_list.value[0],
            )
        )
    assert read == [
        (b"a", [-1.0, 0.25], b"individual", b""),
        (b"b", [0.5, 2.0], b"collective", b"g1"),
    ]
    assert write_knowledge(str(path), []) == []
