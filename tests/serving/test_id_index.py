from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from serving.id_index import (
    WINDOW,
    IdIndex,
    IndexContents,
    IndexOverflow,
    StoredUserRows,
    id_hashes,
    require_whole_numbers,
    with_whole_number_ids,
)

IDS = [f"item {number}" for number in range(3000)]


def test_every_id_has_its_row_and_others_have_none() -> None:
    index = IdIndex(IDS, "items")
    np.testing.assert_array_equal(index(tf.constant(IDS)), np.arange(1, 3001))
    unknown = [f"other {number}" for number in range(3000)] + ["", "item", "item 3000", "ITEM 0"]
    assert not index(tf.constant(unknown)).numpy().any()
    assert {variable.name for variable in index.variables} == {
        f"items/index/{part}:0" for part in ("salt", "shift", "keys", "rows", "starts")
    }


def test_any_shape_and_any_text() -> None:
    index = IdIndex(["7", "Amélie", "x" * 500, "a\x00b"], "items")
    ids = tf.constant([["Amélie", "7", ""], ["x" * 500, "a\x00b", "a"]])
    np.testing.assert_array_equal(index(ids), [[2, 1, 0], [3, 4, 0]])
    assert index(tf.constant("7")).numpy() == 1
    assert index(tf.zeros([0], tf.string)).shape == (0,)
    compiled = tf.function(
        index, input_signature=[tf.TensorSpec([None, None], tf.string)], autograph=False
    )
    np.testing.assert_array_equal(compiled(ids), [[2, 1, 0], [3, 4, 0]])


@pytest.mark.parametrize("number", [0, 1, 2, 13])
def test_few_ids(number: int) -> None:
    index = IdIndex(IDS[:number], "items")
    np.testing.assert_array_equal(
        index(tf.constant(IDS[:14])), [row if row <= number else 0 for row in range(1, 15)]
    )


def test_buckets_hold_no_more_keys_than_a_lookup_reads() -> None:
    # Eight of them share their first eight bits, and forty keys have 2^6 buckets if they can.
    keys = np.arange(40, dtype=np.int64) << 52
    contents = IndexContents.of_hashes(keys, np.arange(1, 41, dtype=np.int32))
    buckets = keys >> contents.shift
    assert np.bincount(buckets).max() <= WINDOW
    for key, row in zip(keys, range(1, 41), strict=True):
        start = contents.starts[key >> contents.shift]
        window = contents.keys[start : start + WINDOW]
        (place,) = np.nonzero(window == key)
        assert contents.rows[start + place[0]] == row


def test_hashes_that_are_too_much_alike_are_refused() -> None:
    # These would need 2^59 buckets.
    keys = np.arange(WINDOW + 4, dtype=np.int64)
    with pytest.raises(IndexOverflow, match="more than 12 hashes share their first 10 bits"):
        IndexContents.of_hashes(keys, np.arange(WINDOW + 4, dtype=np.int32))


def test_further_ids_leave_the_others_where_they_are() -> None:
    before = IndexContents.of_ids(IDS[:100])
    after = before.with_ids(IDS[100:130], 201)
    rows = dict(zip(after.keys[:-WINDOW], after.rows[:-WINDOW], strict=True))
    expected = [*range(1, 101), *range(201, 231)]
    assert [rows[key] for key in id_hashes(IDS[:130])] == expected
    with pytest.raises(IndexOverflow, match="export again"):
        after.with_ids(["item 5"], 300)


def test_a_salt_tells_colliding_ids_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import serving.id_index as module

    def few_hashes(ids: object, salt: str = "") -> np.ndarray:
        collected = id_hashes(ids, salt)
        return collected if salt else collected % 2

    monkeypatch.setattr(module, "id_hashes", few_hashes)
    index = IdIndex(IDS[:50], "items")
    (salt,) = (variable for variable in index.variables if variable.name == "items/index/salt:0")
    assert salt.numpy() == b"a"
    np.testing.assert_array_equal(index(tf.constant(IDS[:60])), [*range(1, 51), *[0] * 10])


def test_ids_that_repeat_are_refused() -> None:
    with pytest.raises(IndexOverflow, match="ids repeat"):
        IdIndex(["a", "b", "a"], "items")


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    index = IdIndex(IDS, "items")
    module = tf.Module()
    module.index = index
    module.look_up = tf.function(
        index, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.look_up(tf.constant(IDS)), np.arange(1, 3001))
    # Ids are no part of the graph.
    assert b"item 7" not in (tmp_path / "saved_model.pb").read_bytes()


def test_one_lookup_serves_all_sources() -> None:
    rows = StoredUserRows(
        ["ann", "bob"], {"liked": np.array([0, 1, 3]), "user": np.array([0, 2, 0])}
    )
    actual = rows(tf.constant(["bob", "nobody", "ann"]))
    np.testing.assert_array_equal(actual["liked"], [3, 0, 1])
    np.testing.assert_array_equal(actual["user"], [0, 0, 2])
    assert actual["user"].dtype == tf.int32
    names = {variable.name for variable in rows.variables}
    assert {"users/knowledge_row/liked:0", "users/knowledge_row/user:0"} <= names


def echo(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "item_id": raw["history_item_id"],
        "joined": tf.strings.join([raw["user_id"], "/", raw["history_item_id"][:, 0]]),
        "sum": raw["history_rating"][:, 0],
    }


def test_ids_are_whole_numbers_outside_and_strings_inside() -> None:
    text = tf.function(echo, autograph=False).get_concrete_function(
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
    examples = tf.function(lambda examples: {"score": tf.strings.length(examples)}, autograph=False)
    signature = examples.get_concrete_function(tf.TensorSpec([None], tf.string, name="examples"))
    assert with_whole_number_ids(signature) is signature


@pytest.mark.parametrize("raw_id", ["x", "", "-1", "007", "1.0", "²", str(2**63), " 1", "1" * 40])
def test_other_ids_are_refused(raw_id: str) -> None:
    with pytest.raises(ConfigurationError, match=f"serving.id_type: .* item '{raw_id}' is none"):
        require_whole_numbers(["5", raw_id], "item")


def test_whole_numbers_pass() -> None:
    require_whole_numbers(["0", "10", str(2**63 - 1)], "user")
