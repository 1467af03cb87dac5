from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.answers.record import Answer, Location, RejectedAnswer
from preprocessing.knowledge.entity_vectors import (
    combine,
    describe_vectors,
    first_vectors,
    norm_report,
    shard_statistics,
    write_vector_statistics,
)
from preprocessing.knowledge.vectors import (
    KnowledgeRecord,
    round_vectors,
    usable_vectors,
    write_knowledge,
)
from preprocessing.vector_files import Problem, usable_vector


def answer(number: int) -> Answer:
    return Answer("item", str(number), "individual", "", location=Location("file", number))


def test_vectors_without_content_are_rejected_after_rounding():
    vectors = np.array(
        [[1.0, 0.1], [0.0, -0.0], [np.nan, 1.0], [70000.0, 1.0], [1e-9, 0.0], [1.0, 1.0]],
        np.float32,
    )
    rounded, good = round_vectors(vectors)
    assert good.tolist() == [True, False, False, False, False, True]
    answers = [[answer(number)] for number in range(5)] + [[answer(5), answer(6)]]
    usable, dead_letters = usable_vectors(answers, rounded, {})
    assert [each.entity_id for each, _ in usable] == ["0", "5", "6"]
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
    assert [each.entity_id for each in write_knowledge(str(path), records)] == ["a", "b"]
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


def records(vectors: np.ndarray, extraction: str = "individual") -> list[KnowledgeRecord]:
    return [
        KnowledgeRecord(str(row), extraction, "", vector.tobytes())
        for row, vector in enumerate(vectors)
    ]


def some_vectors(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, 4)) * [1, 0.01, 3, 0] + [0, 20, -5, 1]).astype(np.float16)


def test_mean_and_deviation_are_those_of_all_records_together(tmp_path):
    parts = [some_vectors(rows, rows) for rows in (1, 40, 7)]
    statistics = [shard_statistics(shard, records(part)) for shard, part in enumerate(parts)]
    path = tmp_path / "statistics.npz"
    report = write_vector_statistics(str(path), statistics[::-1])
    whole = np.concatenate(parts).astype(np.float64)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["count"] == 48
        np.testing.assert_allclose(arrays["mean"], whole.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            arrays["standard_deviation"], whole.std(axis=0), rtol=1e-9, atol=1e-15
        )
    assert report["dimension"] == 4
    norms = np.linalg.norm(whole, axis=1)
    assert report["norms"]["median"] == pytest.approx(np.median(norms), rel=1e-5)


def test_the_order_of_the_shards_changes_no_bit():
    statistics = [shard_statistics(shard, records(some_vectors(9, shard))) for shard in range(5)]
    one, two = combine(statistics), combine(statistics[::-1])
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.squares, two.squares)


def test_norms_are_reported_by_extraction(tmp_path):
    individual = np.array([[3, 4], [6, 8]], np.float16)
    collective = np.array([[0, 1]], np.float16)
    mixed = records(individual) + records(collective, "collective")
    path = str(tmp_path / "statistics.npz")
    report = write_vector_statistics(path, [shard_statistics(0, mixed)])
    assert report["norms"] == {
        "minimum": 1.0,
        "lower_quartile": 3.0,
        "median": 5.0,
        "upper_quartile": 7.5,
        "maximum": 10.0,
        "mean": 5.33333,
    }
    assert report["norms_by_extraction"]["individual"]["mean"] == 7.5
    assert report["norms_by_extraction"]["collective"]["maximum"] == 1.0
    only = shard_statistics(0, records(individual))
    report = write_vector_statistics(path, [only])
    assert list(report["norms_by_extraction"]) == ["individual"]


def test_numbers_are_rounded_to_six_digits():
    assert norm_report(np.array([1 / 3]))["mean"] == 0.333333


def test_vectors_of_different_widths_are_refused():
    wide, narrow = np.ones((1, 3), np.float16), np.ones((1, 2), np.float16)
    with pytest.raises(CommandError, match=r"different widths \(2, 3\).*knowledge.encoder.cache"):
        shard_statistics(0, records(wide) + records(narrow))
    with pytest.raises(CommandError, match="different widths"):
        combine([shard_statistics(0, records(wide)), shard_statistics(1, records(narrow))])


def vector(entity: str, file_order: int, line: int) -> KnowledgeRecord:
    place = Location(f"file{file_order}", line, file_order)
    return KnowledgeRecord(entity, "individual", "", b"\x00<", place)


def test_the_first_vector_of_the_first_file_counts():
    vectors = [vector("a", 1, 1), vector("a", 0, 9), vector("b", 1, 2), vector("a", 0, 3)]
    actual, dead_letters = first_vectors(vectors)
    assert actual == {"a": vectors[3], "b": vectors[2]}
    assert [(letter["file"], letter["line"], letter["detail"]) for letter in dead_letters] == [
        ("file0", 9, "same entity as record 3 of file0"),
        ("file1", 1, "same entity as record 3 of file0"),
    ]
    assert {letter["reason"] for letter in dead_letters} == {"duplicate_entity"}


STATISTICS = [
    {"read": 3},
    {"read": 4},
    {"accepted": 6, "answers_without_history": 2},
    {"usable": 5},
    {"texts": 4, "texts_from_cache": 3},
    {"texts_encoded": 1, "tokens": 9},
    {"individual_entities": 3, "collective_entities": 0},
    {"collective_entities": 2, "entities_without_answer": 3, "unused_group_answers": 1},
    {"group_rows": 9},
    {"shard": 1, "records": 4},
    {"shard": 0, "records": 1},
    {"vectors": {"dimension": 8, "norms": {}}},
]
REJECTED = {
    "a.jsonl": {"duplicate_entity": 1},
    "b.jsonl": {"duplicate_entity": 0, "zero_vector": 1},
    "groups.csv": {"duplicate_entity": 2},
}


def test_counts_of_all_workers_are_added_up():
    described = describe_vectors(STATISTICS, REJECTED, "groups.csv", {"kind": "toy"})
    assert described["counts"] == {
        "records_in": 7,
        "records_out": 5,
        "dead_letters": 2,
        "other_sources": 0,
        "rejected_by_reason": {"duplicate_entity": 1, "zero_vector": 1},
        "knowledge_records": 5,
        "individual_entities": 3,
        "collective_entities": 2,
        "entities_without_answer": 3,
        "unused_group_answers": 1,
        "groups": {
            "records_in": 9,
            "records_out": 7,
            "dead_letters": 2,
            "rejected_by_reason": {"duplicate_entity": 2},
        },
        "texts": 4,
        "answers_without_history": 2,
    }
    assert described["shares"] == {"individual": 0.375, "collective": 0.25, "none": 0.375}
    assert described["encoder"] == {"kind": "toy", "dimension": 8}
    assert [shard["shard"] for shard in described["shards"]] == [0, 1]


def test_what_the_cache_saved_is_not_part_of_the_result():
    assert "texts_from_cache" not in str(describe_vectors(STATISTICS, REJECTED, "groups.csv", {}))
    without = [
        {name: count for name, count in entry.items() if name not in ("texts_from_cache", "tokens")}
        for entry in STATISTICS
    ]
    assert describe_vectors(STATISTICS, REJECTED, "groups.csv", {}) == describe_vectors(
        without, REJECTED, "groups.csv", {}
    )


def test_lost_records_are_noticed():
    with pytest.raises(AssertionError, match="lost or counted twice"):
        describe_vectors([*STATISTICS, {"read": 1}], REJECTED, "groups.csv", {})


def test_records_of_other_sources_are_counted_apart():
    shared = [*STATISTICS, {"read": 3, "other_sources": 3}]
    counts = describe_vectors(shared, REJECTED, "groups.csv", {})["counts"]
    assert (counts["records_in"], counts["records_out"]) == (7, 5)
    assert (counts["dead_letters"], counts["other_sources"]) == (2, 3)


GOOD = np.array([1.0, 0.1])


def test_a_vector_is_rounded_to_float16():
    actual = usable_vector("a", GOOD, "", 2)
    assert actual.dtype == np.float16
    assert actual.tolist() == [1.0, float(np.float16(0.1))]
    assert usable_vector("a", np.array([3, 4]), "collective", 2).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("entity_id", "vector", "extraction", "reason"),
    [
        ("", GOOD, "", "blank_field"),
        (" ", GOOD, "", "blank_field"),
        ("a\nb", GOOD, "", "invalid_entity_id"),
        ("a" * 501, GOOD, "", "invalid_entity_id"),
        ("a", GOOD, "guessed", "extraction_mismatch"),
        ("a", np.ones(3), "", "wrong_width"),
        ("a", np.array([np.nan, 1]), "", "non_finite_vector"),
        ("a", np.array([1e6, 1]), "", "non_finite_vector"),
        ("a", np.array([1e-9, -0.0]), "", "zero_vector"),
        ("a", Problem("missing_field", "no vector"), "", "missing_field"),
    ],
)
def test_what_makes_no_knowledge_has_a_reason(entity_id, vector, extraction, reason):
    with pytest.raises(RejectedAnswer) as raised:
        usable_vector(entity_id, vector, extraction, 2)
    assert raised.value.reason == reason
