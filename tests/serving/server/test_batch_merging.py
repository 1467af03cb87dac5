from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.server.batching import (
    is_mergeable,
    merge,
    order_of_lengths,
    rows_of,
    shapes_within_a_row,
    split,
)


def specification(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


ROWS = specification(None)
LISTS = specification(None, None)
PAIRS = specification(None, 2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "unpadded", "padded"),
    [
        ([ROWS], [ROWS], True, True),
        ([ROWS, LISTS], [ROWS, PAIRS], True, True),
        # A list in, a list out: as long as the inputs, unless these are filled up.
        ([LISTS], [LISTS], True, False),
        # The length comes from what is inside the strings, so it may depend on the company.
        ([ROWS], [LISTS], False, False),
        # `rank`: one user and many candidates.
        ([specification(1), ROWS], [ROWS], False, False),
        ([ROWS], [specification()], False, False),
        ([ROWS], [specification(10)], False, False),
        ([specification()], [ROWS], False, False),
        ([tf.TensorSpec(None, tf.float32)], [ROWS], False, False),
        ([], [ROWS], False, False),
    ],
)
def test_only_signatures_of_independent_rows_are_mergeable(
    inputs: list, outputs: list, unpadded: bool, padded: bool
) -> None:
    named_inputs = {f"input_{number}": one for number, one in enumerate(inputs)}
    named_outputs = {f"output_{number}": one for number, one in enumerate(outputs)}
    assert is_mergeable(named_inputs, named_outputs, padded=False) is unpadded
    assert is_mergeable(named_inputs, named_outputs, padded=True) is padded


def test_rows_are_counted_where_the_inputs_agree() -> None:
    assert rows_of({"a": np.zeros((3, 2)), "b": np.zeros(3)}) == 3
    assert rows_of({"a": np.zeros((3, 2)), "b": np.zeros(2)}) is None
    assert rows_of({"a": np.zeros((0, 2))}) is None
    assert rows_of({"a": np.zeros(())}) is None
    assert rows_of({"a": np.zeros(()), "b": np.zeros(3)}) is None


def test_shapes_leave_the_rows_out() -> None:
    one = {"a": np.zeros((3, 2)), "b": np.zeros(3)}
    assert shapes_within_a_row(one) == shapes_within_a_row(
        {"b": np.zeros(1), "a": np.zeros((1, 2))}
    )
    assert shapes_within_a_row(one) != shapes_within_a_row(
        {"b": np.zeros(1), "a": np.zeros((1, 3))}
    )


def test_requests_are_put_one_below_the_other_and_filled_up() -> None:
    merged = merge(
        [
            {"x": np.array([1, 2]), "s": np.array([[b"a"], [b"b"]], object)},
            {"x": np.array([3]), "s": np.array([[b"c"]], object)},
        ],
        5,
    )
    assert merged["x"].tolist() == [1, 2, 3, 3, 3]
    assert merged["s"].tolist() == [[b"a"], [b"b"], [b"c"], [b"c"], [b"c"]]


def test_lists_of_different_lengths_are_filled_up_at_their_ends() -> None:
    merged = merge(
        [
            {"x": np.float32([[1, 2, 3]]), "s": np.array([[b"a"]], object)},
            {"x": np.float32([[4], [5]]), "s": np.array([[b"b", b"c"], [b"d", b"e"]], object)},
        ],
        3,
    )
    assert merged["x"].tolist() == [[1, 2, 3], [4, 0, 0], [5, 0, 0]]
    assert merged["x"].dtype == np.float32
    assert merged["s"].tolist() == [[b"a", b""], [b"b", b"c"], [b"d", b"e"]]


def test_answers_are_taken_apart_without_what_filled_up() -> None:
    first, second = split({"y": np.array([[1], [2], [3], [9]])}, [2, 1], 4) or ()
    assert first["y"].tolist() == [[1], [2]]
    assert second["y"].tolist() == [[3]]


@pytest.mark.parametrize("output", [np.array(1.0), np.zeros(3)])
def test_outputs_without_a_row_each_are_not_taken_apart(output: np.ndarray) -> None:
    assert split({"y": output}, [1, 1], 2) is None


def test_lists_that_differ_in_one_request_are_not_filled_up_to_agree() -> None:
    def order(ids: int, ratings: int) -> object:
        row = {"ids": np.zeros((1, ids)), "ratings": np.zeros((2, ratings)), "user": np.zeros(1)}
        return order_of_lengths(row)

    assert order(3, 3) == order(5, 5)
    assert order(3, 5) == order(1, 2)
    assert len({order(3, 3), order(3, 5), order(5, 3)}) == 3
