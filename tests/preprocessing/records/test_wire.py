from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.records.wire import (
    LONGEST_VARINT,
    BytesColumn,
    BytesSequence,
    BytesValues,
    FloatColumn,
    FloatSequence,
    IndexedBytesColumn,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
    decode_example,
    encode_examples,
    varint,
    varints,
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


def test_varints_are_those_of_the_protobuf_documentation():
    # https://protobuf.dev/programming-guides/encoding/#varints
    assert varint(1) == b"\x01"
    assert varint(150) == b"\x96\x01"
    assert varint(-2) == b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"


def test_many_varints_are_as_one_by_one():
    random = np.random.default_rng(0)
    values = [0, 1, 127, 128, 16_383, 16_384, -1, 2**63 - 1, -(2**63)]
    values += (random.integers(0, 2**63 - 1, 300) >> random.integers(0, 63, 300)).tolist()
    packed, sizes = varints(np.array(values))
    assert len(packed) == len(values) * LONGEST_VARINT
    for number, (value, size) in enumerate(zip(values, sizes.tolist(), strict=True)):
        start = number * LONGEST_VARINT
        assert packed[start : start + size] == varint(value)
    assert varints(np.array([5, 6]))[1].tolist() == [1, 1]
    assert varints(np.zeros(0, np.int64))[0] == b""


def test_what_tensorflow_wrote_is_read():
    example = tf.train.Example()
    example.features.feature["texts"].bytes_list.value.extend([b"a", b"", b"\xff" * 300])
    example.features.feature["floats"].float_list.value.extend([1.5, -2.0])
    example.features.feature["integers"].int64_list.value.extend([0, -1, 2**63 - 1, 300])
    example.features.feature["no_floats"].float_list.SetInParent()
    decoded = decode_example(example.SerializeToString())
    assert decoded.keys() == {"texts", "floats", "integers", "no_floats"}
    assert decoded["texts"] == [b"a", b"", b"\xff" * 300]
    np.testing.assert_array_equal(decoded["floats"], np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(decoded["integers"], [0, -1, 2**63 - 1, 300])
    assert decoded["floats"].dtype == np.float32 and decoded["integers"].dtype == np.int64
    assert len(decoded["no_floats"]) == 0


def test_unpacked_numbers_are_read_too():
    # feature "n": int64_list { value: 5 value: 6 }, each value with a tag of its own
    feature = b"\x1a\x04" + b"\x08\x05" + b"\x08\x06"
    entry = b"\x0a\x01n" + b"\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    serialized = b"\x0a" + bytes([len(features)]) + features
    assert tf.train.Example.FromString(serialized).features.feature["n"].int64_list.value == [5, 6]
    assert decode_example(serialized)["n"].tolist() == [5, 6]


@pytest.mark.parametrize(("packed", "value"), [(b"\xff" * 9 + b"\x7f", -1), (b"\xff" * 20, None)])
def test_integers_of_more_than_64_bits_are_cut_or_refused(packed: bytes, value: int | None) -> None:
    content = packed
    for head in (b"\x0a", b"\x1a"):
        content = head + varint(len(content)) + content
    entry = b"\x0a\x01n\x12" + varint(len(content)) + content
    for _ in range(2):
        entry = b"\x0a" + varint(len(entry)) + entry
    if value is None:
        with pytest.raises(ValueError, match="not a serialized"):
            decode_example(entry)
    else:
        assert decode(entry) == {"n": ("int64_list", [value])}
        assert decode_example(entry)["n"].tolist() == [value]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_cut_off_bytes_are_refused(cut):
    example = tf.train.Example()
    example.features.feature["floats"].float_list.value.extend([1.0] * 10)
    serialized = example.SerializeToString()
    with pytest.raises(ValueError, match="not a serialized"):
        decode_example(serialized[:-cut])
