from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.records.contract import (
    EXAMPLE_FEATURES,
    FEATURES_OF_KIND,
    REQUEST_FEATURES,
    RERANK_FEATURES,
    DamagedRecords,
    Feature,
    FeatureType,
    profile_feature,
)
from preprocessing.records.parsing import as_text, example_dataset, parse_examples, with_masks
from preprocessing.records.tfrecord_file import write_records


def example(number: int, features: Sequence[Feature] = EXAMPLE_FEATURES) -> bytes:
    message = tf.train.Example()
    for feature in features:
        values = getattr(message.features.feature[feature.name], feature.type.value).value
        size = number if feature.is_list else 1
        if feature.type is FeatureType.BYTES:
            values.extend([f"{feature.name}{number}".encode()] * size)
        else:
            values.extend([number] * size)
    return message.SerializeToString()


@pytest.mark.parametrize("compiled", [False, True])
def test_histories_are_padded_at_the_end(compiled):
    parse = tf.function(parse_examples) if compiled else parse_examples
    parsed = parse(tf.constant([example(2), example(0), example(3)]))
    assert parsed.keys() == {feature.name for feature in EXAMPLE_FEATURES}
    name = b"history_item_id"
    assert parsed["history_item_id"].numpy().tolist() == [
        [name + b"2", name + b"2", b""],
        [b"", b"", b""],
        [name + b"3"] * 3,
    ]
    np.testing.assert_array_equal(parsed["history_rating"], [[2, 2, 0], [0, 0, 0], [3, 3, 3]])
    assert parsed["user_id"].numpy().tolist() == [b"user_id2", b"user_id0", b"user_id3"]
    assert parsed["label"].dtype == tf.float32 and parsed["timestamp"].dtype == tf.int64


def test_a_batch_of_one_without_history():
    parsed = parse_examples(tf.constant([example(0)]))
    assert parsed["history_item_id"].shape == (1, 0)
    assert parsed["label"].numpy().tolist() == [0.0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_every_kind_is_parsed_with_masks(kind, compiled):
    features = FEATURES_OF_KIND[kind]

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return with_masks(parse_examples(serialized, features))

    parse = tf.function(parse) if compiled else parse
    parsed = parse(tf.constant([example(2, features), example(1, features)]))
    assert parsed["history_mask"].numpy().tolist() == [[True, True], [True, False]]
    masks = {"history_mask", "candidate_mask"} if kind == "rerank" else {"history_mask"}
    assert parsed.keys() == {feature.name for feature in features} | masks
    if kind == "rerank":
        assert parsed["candidate_mask"].numpy().tolist() == [[True, True], [True, False]]
        np.testing.assert_array_equal(parsed["label"], [[2, 2], [1, 0]])


@pytest.mark.parametrize("compiled", [False, True])
def test_widths_keep_the_newest_of_a_history_and_the_first_candidates(compiled):
    message = tf.train.Example()
    message.ParseFromString(example(0, RERANK_FEATURES))
    lists = message.features.feature
    lists["history_item_id"].bytes_list.value.extend([b"old", b"new", b"newest"])
    lists["history_rating"].float_list.value.extend([1, 2, 3])
    lists["item_id"].bytes_list.value.extend([b"a", b"b"])
    for name in ("label", "rating"):
        lists[name].float_list.value.extend([0, 1])
    widths = {"history_item_id": 2, "history_rating": 4, "item_id": 1}

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return parse_examples(serialized, RERANK_FEATURES, widths)

    parse = tf.function(parse) if compiled else parse
    parsed = parse(tf.constant([message.SerializeToString(), example(1, RERANK_FEATURES)]))
    assert parsed["history_item_id"].numpy().tolist() == [
        [b"new", b"newest"], [b"history_item_id1", b""],
    ]  # fmt: skip
    np.testing.assert_array_equal(parsed["history_rating"], [[1, 2, 3, 0], [1, 0, 0, 0]])
    assert parsed["item_id"].numpy().tolist() == [[b"a"], [b"item_id1"]]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_the_longest_history_is_a_bound_of_histories_alone(kind, compiled):
    features = FEATURES_OF_KIND[kind]
    message = tf.train.Example.FromString(example(4, features))
    lists = message.features.feature
    lists["history_item_id"].bytes_list.value[:] = [b"oldest", b"old", b"new", b"newest"]
    lists["history_rating"].float_list.value[:] = [1, 2, 3, 4]
    others = [example(1, features), example(0, features)]
    serialized = tf.constant([message.SerializeToString(), *others])

    def parse(longest: int | None) -> dict[str, tf.Tensor]:
        function = lambda batch: parse_examples(batch, features, longest_history=longest)  # noqa: E731
        return (tf.function(function) if compiled else function)(serialized)

    whole, cut = parse(None), parse(2)
    assert cut["history_item_id"].numpy().tolist() == [
        [b"new", b"newest"], [b"history_item_id1", b""], [b"", b""],
    ]  # fmt: skip
    np.testing.assert_array_equal(cut["history_rating"], [[3, 4], [1, 0], [0, 0]])
    assert whole["history_item_id"].shape == (3, 4)
    for name in whole.keys() - {"history_item_id", "history_rating"}:
        np.testing.assert_array_equal(cut[name], whole[name], err_msg=name)
    # A bound that no history reaches widens nothing.
    assert parse(9)["history_rating"].shape == (3, 4)


def test_a_width_and_a_longest_history_hold_together():
    parsed = parse_examples(
        tf.constant([example(4), example(1)]), widths={"history_rating": 3}, longest_history=2
    )
    np.testing.assert_array_equal(parsed["history_rating"], [[4, 4, 0], [1, 0, 0]])
    assert parsed["history_item_id"].shape == (2, 2)


def test_requests_without_a_history_have_no_bound():
    features = [feature for feature in REQUEST_FEATURES if not feature.is_list]
    parsed = parse_examples(tf.constant([example(2)]), features, longest_history=1)
    assert parsed.keys() == {feature.name for feature in features}


def test_profiles_are_read_when_asked_for_and_ignored_otherwise():
    profile = [profile_feature("jobs", "categorical"), profile_feature("age", "numeric")]
    features = [*EXAMPLE_FEATURES, *profile]
    serialized = tf.constant([example(2, features), example(0, features)])
    assert parse_examples(serialized).keys() == {feature.name for feature in EXAMPLE_FEATURES}
    parsed = parse_examples(serialized, profile)
    assert parsed["profile_jobs"].numpy().tolist() == [[b"profile_jobs2"] * 2, [b""] * 2]
    np.testing.assert_array_equal(parsed["profile_age"], [[2, 2], [np.nan, np.nan]])


def test_requests_carry_no_label():
    parsed = parse_examples(tf.constant([example(1)]), REQUEST_FEATURES)
    assert "label" not in parsed and "item_id" in parsed


def test_a_missing_feature_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="is required"):
        parse_examples(tf.constant([b""]))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("features", "name", "other"),
    [
        (EXAMPLE_FEATURES, "history_rating", "history_item_id"),
        (RERANK_FEATURES, "label", "item_id"),
        (RERANK_FEATURES, "rating", "item_id"),
    ],
)
def test_lists_that_belong_together_have_equal_lengths(features, name, other, compiled):
    wrong = tf.train.Example.FromString(example(3, features))
    del wrong.features.feature[name].float_list.value[2]
    # Beside a longer row, padding alone would hide it.
    batch = [example(4, features), wrong.SerializeToString()]

    def read(serialized):
        return parse_examples(serialized, features)[other]

    parse = tf.function(read) if compiled else read
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        parse(tf.constant(batch))
    assert f"{name} and {other} of an example must have the same length" in str(caught.value)
    assert "[1] [2] [3]" in str(caught.value)
    assert parse(tf.constant(batch[:1])).shape == (1, 4)
    assert parse(tf.constant([], tf.string)).shape == (0, 0)


def test_batches_come_in_the_order_of_the_files(tmp_path):
    write_records(tmp_path / "a", [example(number) for number in (1, 2)])
    write_records(tmp_path / "b", [example(number) for number in (3, 4, 5)])
    dataset = example_dataset([tmp_path / "b", str(tmp_path / "a")], batch_size=2)
    labels = [batch["label"].numpy().tolist() for batch in dataset]
    assert labels == [[3.0, 4.0], [5.0, 1.0], [2.0]]
    assert dataset.options().autotune.enabled is False


def test_a_dataset_of_another_kind_names_its_features(tmp_path):
    features = FEATURES_OF_KIND["retrieval"]
    write_records(tmp_path / "a", [example(number, features) for number in (1, 3)])
    (batch,) = example_dataset([tmp_path / "a"], 5, features, {"history_item_id": 4})
    assert batch["history_item_id"].shape == (2, 4) and batch["history_rating"].shape == (2, 3)
    assert "label" not in batch


@pytest.mark.parametrize("kept", [None, 0, 10, -1])
def test_a_missing_or_cut_off_file_is_named(tmp_path, kept):
    path = tmp_path / "part"
    if kept is not None:
        write_records(path, [example(1)])
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedRecords, match=str(path)):
        example_dataset([path], batch_size=2)


@pytest.mark.parametrize("texts", [["a", "b2"], ["Zoë", "№ 7", "猫"], [["x", ""], ["é", "y"]], []])
@pytest.mark.parametrize("kind", [object, np.bytes_])
def test_texts_of_any_alphabet(texts: list, kind: type) -> None:
    expected = np.array(texts, str)
    values = np.array([text.encode() for text in expected.ravel().tolist()], kind)
    actual = as_text(values.reshape(expected.shape))
    assert actual.dtype.kind == "U" and actual.tolist() == texts
