from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from serving.id_tables import require_whole_numbers, with_whole_number_ids


def echo(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "item_id": raw["history_item_id"],
        "joined": tf.strings.join([raw["user_id"], "/", raw["history_item_id"][:, 0]]),
        "sum": raw["history_rating"][:, 0],
    }


def test_ids_are_whole_numbers_outside_and_strings_inside() -> None:
    text = tf.function(echo).get_concrete_function(
        user_id=tf.TensorSpec([1], tf.string, name="user_id"),
        history_item_id=tf.TensorSpec([1, None], tf.string, name="history_item_id"),
        history_rating=tf.TensorSpec([1, None], tf.float32, name="history_rating"),
    )
    numbers = with_whole_number_ids(text)
    _, inputs = numbers.structured_input_signature
    assert {name: given.dtype for name, given in inputs.items()} == {
        "user_id": tf.int64,
        "history_item_id": tf.int64,
        "history_rating": tf.float32,
    }
    assert inputs["history_item_id"].shape.as_list() == [1, None]
    largest = 2**63 - 1
    outputs = numbers(
        user_id=tf.constant([0], tf.int64),
        history_item_id=tf.constant([[largest, 7, -1]], tf.int64),
        history_rating=tf.constant([[1.0, 2.0, 0.0]]),
    )
    assert outputs["joined"].numpy().tolist() == [f"0/{largest}".encode()]
    assert outputs["item_id"].dtype == tf.int64
    np.testing.assert_array_equal(outputs["item_id"], [[largest, 7, -1]])


def test_a_signature_without_ids_stays_as_it_is() -> None:
    examples = tf.function(lambda examples: {"score": tf.strings.length(examples)})
    signature = examples.get_concrete_function(tf.TensorSpec([None], tf.string, name="examples"))
    assert with_whole_number_ids(signature) is signature


@pytest.mark.parametrize("raw_id", ["x", "", "-1", "007", "1.0", "²", str(2**63), " 1", "1" * 40])
def test_other_ids_are_refused(raw_id: str) -> None:
    with pytest.raises(ConfigurationError, match=f"serving.id_type: .* item '{raw_id}' is none"):
        require_whole_numbers(["5", raw_id], "item")


def test_whole_numbers_pass() -> None:
    require_whole_numbers(["0", "10", str(2**63 - 1)], "user")
