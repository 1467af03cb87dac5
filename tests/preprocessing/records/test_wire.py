from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.records.wire import (
    BytesColumn,
    BytesSequence,
    BytesValues,
    FloatColumn,
    FloatSequence,
    IndexedBytesColumn,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
    encode_examples,
)


def decode(serialized: bytes) -> dict[str, tuple[str, list]]:
    features = tf.train.Example.FromString(serialized).features.feature
    decoded = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        decoded[name] = (kind, list(getattr(feature, kind).value))
    return decoded


def test_tensorflow_reads_every_kind_of_column():
    long_text = bytes(range(256)) * 80
    starts, ends = np.array([0, 1, 3]), np.array([0, 3, 4])
    indexed = BytesSequence([b"c", long_text, b"a", b""], np.array([2, 3, 0, 1]))
    columns = {
        "float": FloatColumn(np.array([1.5, -0.1, np.inf])),
        "flag": FloatColumn(np.array([True, False, True])),
        "int": Int64Column(np.array([0, -1, 2**63 - 1])),
        "small_int": Int64Column(np.array([127, 128, -(2**63)])),
        "bytes": BytesColumn([b"", "größe".encode(), long_text]),
        "floats": RaggedFloatColumn(FloatSequence(np.array([1.0, 2.0, 0.1, 4.0])), starts, ends),
        "texts": RaggedBytesColumn(BytesSequence([b"a", b"", b"c", long_text]), starts, ends),
        "same": RaggedBytesColumn(indexed, starts, ends),
    }
    rows = [decode(serialized) for serialized in encode_examples(columns)]
    float32 = np.float32
    assert rows == [
        {
            "float": ("float_list", [1.5]),
            "flag": ("float_list", [1.0]),
            "int": ("int64_list", [0]),
            "small_int": ("int64_list", [127]),
            "bytes": ("bytes_list", [b""]),
            "floats": ("float_list", []),
            "texts": ("bytes_list", []),
            "same": ("bytes_list", []),
        },
        {
            "float": ("float_list", [float32(-0.1)]),
            "flag": ("float_list", [0.0]),
            "int": ("int64_list", [-1]),
            "small_int": ("int64_list", [128]),
            "bytes": ("bytes_list", ["größe".encode()]),
            "floats": ("float_list", [2.0, float32(0.1)]),
            "texts": ("bytes_list", [b"", b"c"]),
            "same": ("bytes_list", [b"", b"c"]),
        },
        {
            "float": ("float_list", [np.inf]),
            "flag": ("float_list", [1.0]),
            "int": ("int64_list", [2**63 - 1]),
            "small_int": ("int64_list", [-(2**63)]),
            "bytes": ("bytes_list", [long_text]),
            "floats": ("float_list", [4.0]),
            "texts": ("bytes_list", [long_text]),
            "same": ("bytes_list", [long_text]),
        },
    ]


def test_bytes_equal_those_of_protobuf_for_features_in_the_same_order():
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0]))
    expected = tf.train.Example(features=tf.train.Features(feature={"history": feature}))
    sequence = FloatSequence(np.array([9.0, 1.0, 2.0]))
    column = RaggedFloatColumn(sequence, np.array([1]), np.array([3]))
    assert list(encode_examples({"history": column})) == [expected.SerializeToString()]


def test_values_taken_by_number_are_those_listed():
    values = [b"", "größe".encode(), b"x" * 200]
    taken = BytesValues(values)
    index = np.array([2, 0, 2, 1])
    listed = {name: BytesColumn([values[number] for number in index]) for name in ("a", "b")}
    by_number = {name: IndexedBytesColumn(taken, index) for name in ("a", "b")}
    assert list(encode_examples(by_number)) == list(encode_examples(listed))


def test_floats_side_by_side_are_as_floats_apart():
    numbers = np.arange(12, dtype=np.float64).reshape(4, 3)
    floats = {f"f{number}": FloatColumn(numbers[:, number]) for number in range(3)}
    rows = [decode(serialized) for serialized in encode_examples(floats)]
    assert rows == [
        {f"f{number}": ("float_list", [value]) for number, value in enumerate(row)}
        for row in numbers.tolist()
    ]
    apart = [column.entries(name) for name, column in floats.items()]
    together = [serialized[2:] for serialized in encode_examples(floats)]
    assert [b"".join(entries) for entries in zip(*apart, strict=True)] == together


def test_no_rows_give_no_records():
    assert list(encode_examples({"a": FloatColumn(np.zeros(0)), "b": BytesColumn([])})) == []


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"Received: \{'a': 1, 'b': 2\}"):
        list(encode_examples({"a": FloatColumn(np.zeros(1)), "b": BytesColumn([b"", b""])}))
