from __future__ import annotations

import numpy as np
import pytest

from serving.proof.result import largest_gap

NAMES = ("first", "second")


def scores(*values: float) -> dict[str, np.ndarray]:
    return {"score": np.array(values, np.float32)}


def test_the_largest_difference_is_named() -> None:
    gap = largest_gap(scores(0.25, 0.5), scores(0.25, 0.75), 1e-5, NAMES)
    assert gap.difference == 0.25
    assert not gap.is_within
    assert gap.text == (
        "score of second: 0.5 expected, 0.75 found, a difference of 0.25 where 1e-05 is allowed"
    )
    assert largest_gap(scores(0.25, 0.5), scores(0.25, 0.75), 0.25, NAMES).is_within


def test_no_number_and_other_shapes_and_outputs_are_no_match() -> None:
    assert largest_gap(scores(0.5, 0.5), scores(0.5, np.nan), 1.0, NAMES).difference == np.inf
    gap = largest_gap(scores(0.5, 0.5), scores(0.5), 1.0, NAMES)
    assert (gap.difference, gap.text) == (np.inf, "score has shape [1] and not [2]")
    gap = largest_gap(scores(0.5), {"scores": np.zeros(1)}, 1.0, NAMES)
    assert (gap.difference, gap.text) == (np.inf, "outputs are scores and not score")


def test_nothing_differs_by_nothing() -> None:
    assert largest_gap(scores(), scores(), 1e-5, ()).difference == 0


def test_numbers_above_one_may_differ_by_more() -> None:
    expected, found = {"vector": np.array([[100.0, 0]])}, {"vector": np.array([[100.0, 5e-4]])}
    gap = largest_gap(expected, found, 1e-5, NAMES)
    assert gap.is_within
    assert gap.bound == pytest.approx(1e-3)


def search(items: list[bytes], values: list[float]) -> dict[str, np.ndarray]:
    return {
        "item_id": np.array([items], dtype=object),
        "score": np.array([values], np.float32),
    }


def test_items_with_equal_scores_may_change_places() -> None:
    expected = search([b"a", b"b", b"c"], [0.9, 0.5, 0.5])
    assert largest_gap(expected, search([b"a", b"c", b"b"], [0.9, 0.5, 0.5]), 1e-5, NAMES).is_within
    # "d" has the score of the last item and may stand for it.
    assert largest_gap(expected, search([b"a", b"b", b"d"], [0.9, 0.5, 0.5]), 1e-5, NAMES).is_within


@pytest.mark.parametrize("items", [[b"b", b"a", b"c"], [b"d", b"b", b"c"]])
def test_items_with_other_scores_may_not(items: list[bytes]) -> None:
    expected = search([b"a", b"b", b"c"], [0.9, 0.5, 0.5])
    gap = largest_gap(expected, search(items, [0.9, 0.5, 0.5]), 1e-5, NAMES)
    assert gap.difference == np.inf
    assert "at place 1 of first: b'a' expected, and their scores do not tie" in gap.text
