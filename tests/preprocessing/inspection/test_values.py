from __future__ import annotations

import numpy as np

from preprocessing.inspection.views import cut, plain_value, shown_values


def test_values_are_shown_as_what_they_are():
    assert shown_values([b"a"]) == "a"
    assert shown_values([b"a", "é".encode(), b"\xff"]) == ["a", "é", "\\xff"]
    assert shown_values(np.array([0.1], np.float32)) == 0.1
    assert shown_values(np.array([3], np.int64)) == 3
    assert shown_values([]) == []


def test_long_lists_are_abbreviated():
    assert shown_values(np.arange(8)) == list(range(8))
    assert shown_values(np.arange(9)) == {"count": 9, "first": [0, 1, 2], "last": [6, 7, 8]}


def test_numbers_that_json_lacks_and_long_texts():
    assert plain_value(np.float32("nan")) == "nan" and plain_value(np.float32("inf")) == "inf"
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("x" * 11, 10) == "x" * 10 + "... (11 characters)"
