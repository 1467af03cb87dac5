from __future__ import annotations

import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError

from preprocessing.inspection.record_checks import Example


def feature(**lists: list) -> tf.train.Feature:
    ((name, values),) = lists.items()
    kinds = {
        "bytes_list": tf.train.BytesList,
        "float_list": tf.train.FloatList,
        "int64_list": tf.train.Int64List,
    }
    return tf.train.Feature(**{name: kinds[name](value=values)})


def test_what_tensorflow_writes_is_read_and_written_back():
    values = {
        "a": feature(bytes_list=[b"", b"\xff\x00", b"x" * 300]),
        "b": feature(float_list=[0.1, -1e30, float("inf")]),
        "c": feature(int64_list=[0, -1, 1 << 62]),
        "d": feature(float_list=[]),
        "e": tf.train.Feature(),
    }
    written = tf.train.Example(features=tf.train.Features(feature=values))
    read = Example.FromString(written.SerializeToString()).features.feature
    assert set(read) == set(values)
    for name, expected in values.items():
        kind = expected.WhichOneof("kind")
        assert read[name].WhichOneof("kind") == kind
        if kind is not None:
            assert list(getattr(read[name], kind).value) == list(getattr(expected, kind).value)
    again = tf.train.Example.FromString(
        Example.FromString(written.SerializeToString()).SerializeToString()
    )
    assert again == written


@pytest.mark.parametrize("damaged", [b"\xff", b"\x0a\x05abc"])
def test_other_bytes_are_refused(damaged):
    with pytest.raises(DecodeError):
        Example.FromString(damaged)
