from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.records.contract import EXAMPLE_FEATURES, REQUEST_FEATURES, FeatureType
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.parsing import example_dataset, parse_examples
from preprocessing.records.tfrecord_file import write_records


def example(number: int) -> bytes:
    message = tf.train.Example()
    for feature in EXAMPLE_FEATURES:
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


def test_requests_carry_no_label():
    parsed = parse_examples(tf.constant([example(1)]), REQUEST_FEATURES)
    assert "label" not in parsed and "item_id" in parsed


def test_a_missing_feature_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="is required"):
        parse_examples(tf.constant([b""]))


def test_batches_come_in_the_order_of_the_files(tmp_path):
    write_records(tmp_path / "a", [example(number) for number in (1, 2)])
    write_records(tmp_path / "b", [example(number) for number in (3, 4, 5)])
    dataset = example_dataset([tmp_path / "b", str(tmp_path / "a")], batch_size=2)
    labels = [batch["label"].numpy().tolist() for batch in dataset]
    assert labels == [[3.0, 4.0], [5.0, 1.0], [2.0]]
    assert dataset.options().autotune.enabled is False


@pytest.mark.parametrize("kept", [None, 0, 10, -1])
def test_a_missing_or_cut_off_file_is_named(tmp_path, kept):
    path = tmp_path / "part"
    if kept is not None:
        write_records(path, [example(1)])
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedRecords, match=str(path)):
        example_dataset([path], batch_size=2)
