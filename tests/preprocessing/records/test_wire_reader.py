from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.records.wire import decode_example


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


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_cut_off_bytes_are_refused(cut):
    example = tf.train.Example()
    example.features.feature["floats"].float_list.value.extend([1.0] * 10)
    serialized = example.SerializeToString()
    with pytest.raises(ValueError, match="not a serialized"):
        decode_example(serialized[:-cut])
