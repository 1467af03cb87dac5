from __future__ import annotations

import numpy as np
import pytest

from serving.client.errors import RankingError
from serving.client.inputs import id_array, padded_ids

LARGEST = 2**63 - 1


def test_numbers_and_texts_are_the_same_id() -> None:
    values = ["318", 318, "", -5, str(LARGEST)]
    as_strings = id_array(values, "item_id", False)
    assert as_strings.dtype == object
    assert as_strings.tolist() == ["318", "318", "", "-5", str(LARGEST)]
    as_integers = id_array(values, "item_id", True)
    assert as_integers.dtype == np.int64
    assert as_integers.tolist() == [318, 318, -1, -5, LARGEST]


def test_lists_are_completed_by_the_id_that_is_none() -> None:
    lists = [["1", "2"], [], [3]]
    assert padded_ids(lists, "h", False).tolist() == [["1", "2"], ["", ""], ["3", ""]]
    integers = padded_ids(lists, "h", True)
    assert integers.dtype == np.int64
    assert integers.tolist() == [[1, 2], [-1, -1], [3, -1]]
    assert padded_ids([[]], "h", True).tolist() == [[-1]]
    assert padded_ids([[]], "h", False).tolist() == [[""]]


@pytest.mark.parametrize("value", ["tt1", "1.5", " ", str(LARGEST + 1), LARGEST + 1])
def test_what_is_no_whole_number_is_named(value: object) -> None:
    with pytest.raises(RankingError, match="input 'item_id'.*64 bits") as caught:
        id_array(["1", value], "item_id", True)
    assert repr(value) in str(caught.value)
    assert caught.value.code == "INVALID_ARGUMENT"
