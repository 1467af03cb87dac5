from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from preprocessing.records.wire import (
    BytesColumn,
    BytesSequence,
    BytesValues,
    Column,
    FloatColumn,
    FloatSequence,
    IndexedBytesColumn,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
    decode_example,
    encode_examples,
    varint,
)


def decode(serialized: bytes) -> dict[str, tuple[str, list]]:
    features = tf.train.Example.FromString(serialized).features.feature
    decoded = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        decoded[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return decoded


FLOATS = st.floats(width=32, allow_nan=False)
BYTES = st.binary(max_size=12) | st.sampled_from(["größe".encode(), bytes(range(256)) * 80])
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 127, 128, -1, 2**63 - 1])


@st.composite
def windows(draw: st.DrawFn, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    places = st.integers(0, length)
    bounds = [sorted((draw(places), draw(places))) for _ in range(rows)]
    starts, ends = np.array(bounds, np.int64).reshape(rows, 2).T
    return starts, ends


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Column], list[dict[str, tuple[str, list]]]]:
    """A column of every kind, two of floats side by side; and what each row holds."""
    rows = draw(st.integers(0, 5))

    def one_each(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    floats, more_floats, integers, texts = map(one_each, (FLOATS, FLOATS, INTEGERS, BYTES))
    flags = one_each(st.booleans())
    sequence = draw(st.lists(FLOATS, max_size=8))
    words = draw(st.lists(BYTES, min_size=1, max_size=4))
    chosen = draw(st.lists(st.integers(0, len(words) - 1), max_size=8))
    picked = one_each(st.integers(0, len(words) - 1))
    float_windows = draw(windows(rows, len(sequence)))
    word_windows = draw(windows(rows, len(words)))
    chosen_windows = draw(windows(rows, len(chosen)))
    index = np.array(picked, np.int64)
    columns: dict[str, Column] = {
        "float": FloatColumn(np.array(floats)),
        "flag": FloatColumn(np.array(flags, bool)),
        "int": Int64Column(np.array(integers, np.int64)),
        "more": FloatColumn(np.array(more_floats)),
        "bytes": BytesColumn(texts),
        "indexed": IndexedBytesColumn(BytesValues(words), index),
        "floats": RaggedFloatColumn(FloatSequence(np.array(sequence)), *float_windows),
        "texts": RaggedBytesColumn(BytesSequence(words), *word_windows),
        "same": RaggedBytesColumn(
            BytesSequence(words, np.array(chosen, np.int64)), *chosen_windows
        ),
    }

    def window(values: list, bounds: tuple[np.ndarray, np.ndarray], row: int) -> list:
        return values[bounds[0][row] : bounds[1][row]]

    same = [words[number] for number in chosen]
    expected = [
        {
            "float": ("float_list", [floats[row]]),
            "flag": ("float_list", [float(flags[row])]),
            "int": ("int64_list", [integers[row]]),
            "more": ("float_list", [more_floats[row]]),
            "bytes": ("bytes_list", [texts[row]]),
            "indexed": ("bytes_list", [words[picked[row]]]),
            "floats": ("float_list", window(sequence, float_windows, row)),
            "texts": ("bytes_list", window(words, word_windows, row)),
            "same": ("bytes_list", window(same, chosen_windows, row)),
        }
        for row in range(rows)
    ]
    return columns, expected


@given(tables())
def test_tensorflow_and_we_read_every_kind_of_column(table) -> None:
    columns, expected = table
    serialized = list(encode_examples(columns))
    assert [decode(row) for row in serialized] == expected
    read = [decode_example(row) for row in serialized]
    assert [{name: list(values) for name, values in row.items()} for row in read] == [
        {name: values for name, (_, values) in row.items()} for row in expected
    ]


@given(tables(), st.data())
def test_damaged_bytes_are_refused_or_read_never_a_crash(table, data) -> None:
    for serialized in encode_examples(table[0]):
        cut = data.draw(st.integers(1, len(serialized) - 1))
        with pytest.raises(ValueError, match="not a serialized"):
            decode_example(serialized[:cut])
        damaged = bytearray(serialized)
        for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
            damaged[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(ValueError):
            decode_example(bytes(damaged))


def integers_example(packed: bytes) -> bytes:
    """An example whose feature "n" has these bytes for its packed int64 values."""
    content = packed
    for head in (b"\x0a", b"\x1a"):
        content = head + varint(len(content)) + content
    entry = b"\x0a\x01n\x12" + varint(len(content)) + content
    for _ in range(2):
        entry = b"\x0a" + varint(len(entry)) + entry
    return entry


@given(st.binary(max_size=60))
@example(integers_example(b"\xff" * 20))
@example(integers_example(b"\xff" * 9 + b"\x7f"))
def test_any_bytes_are_refused_or_read_as_tensorflow_reads_them(content: bytes) -> None:
    try:
        read = decode_example(content)
    except ValueError:
        return
    try:
        expected = decode(content)
    except DecodeError:
        return
    assert {name: list(values) for name, values in read.items()} == {
        name: values for name, (_, values) in expected.items()
    }


def test_bytes_equal_those_of_protobuf_for_features_in_the_same_order():
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0]))
    expected = tf.train.Example(features=tf.train.Features(feature={"history": feature}))
    sequence = FloatSequence(np.array([9.0, 1.0, 2.0]))
    column = RaggedFloatColumn(sequence, np.array([1]), np.array([3]))
    assert list(encode_examples({"history": column})) == [expected.SerializeToString()]


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"Received: \{'a': 1, 'b': 2\}"):
        list(encode_examples({"a": FloatColumn(np.zeros(1)), "b": BytesColumn([b"", b""])}))


def test_varints_are_those_of_the_protobuf_documentation():
    # https://protobuf.dev/programming-guides/encoding/#varints
    assert varint(1) == b"\x01"
    assert varint(150) == b"\x96\x01"
    assert varint(-2) == b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"


def test_unpacked_numbers_are_read_too():
    # feature "n": int64_list { value: 5 value: 6 }, each value with a tag of its own
    feature = b"\x1a\x04" + b"\x08\x05" + b"\x08\x06"
    entry = b"\x0a\x01n" + b"\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    serialized = b"\x0a" + bytes([len(features)]) + features
    assert tf.train.Example.FromString(serialized).features.feature["n"].int64_list.value == [5, 6]
    assert decode_example(serialized)["n"].tolist() == [5, 6]
