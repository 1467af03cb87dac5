from __future__ import annotations

import pytest

from preprocessing.inspection.record_checks import BrokenRule, check_example

GOOD = {
    "user_id": [b"u"],
    "item_id": [b"i"],
    "label": [1.0],
    "rating": [4.5],
    "history_item_id": [b"a", b"b"],
    "history_rating": [1.0, 2.0],
    "position": [2],
    "user_fold": [9],
}
LIST = {**GOOD, "item_id": [b"i", b"j"], "label": [1.0, 0.0], "rating": [4.5, 0.0]}
RETRIEVAL = {name: values for name, values in GOOD.items() if name not in ("label", "rating")}


@pytest.mark.parametrize(
    "record", [GOOD, LIST, RETRIEVAL, {**GOOD, "position": [7]}, {**GOOD, "label_loved": [1.0]}]
)
def test_sound_examples(record):
    check_example(record, history_length=2)


@pytest.mark.parametrize(
    ("record", "change", "check"),
    [
        (GOOD, {"user_id": [b""]}, "empty_id"),
        (LIST, {"item_id": [b"i", b""]}, "empty_id"),
        (LIST, {"label": [1.0]}, "unequal_lists"),
        (LIST, {"rating": [1.0, 2.0, 3.0]}, "unequal_lists"),
        (GOOD, {"label": [0.5]}, "label_range"),
        (GOOD, {"label": [-1.0]}, "label_range"),
        (GOOD, {"label_loved": [0.5]}, "label_range"),
        (GOOD, {"position": [-1], "history_item_id": [], "history_rating": []}, "position_range"),
        (GOOD, {"history_rating": [1.0]}, "unequal_lists"),
        (GOOD, {"position": [1]}, "history_length"),
        (GOOD, {"history_item_id": [b"a"], "history_rating": [1.0]}, "history_length"),
        (GOOD, {"user_fold": [10]}, "fold_range"),
        (GOOD, {"user_fold": [-1]}, "fold_range"),
    ],
)
def test_impossible_examples(record, change, check):
    with pytest.raises(BrokenRule) as raised:
        check_example({**record, **change}, history_length=2)
    assert raised.value.check == check
