from __future__ import annotations

import numpy as np

from preprocessing.records.wire import LONGEST_VARINT, varint, varints


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
