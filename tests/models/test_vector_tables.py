from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.vector_tables import (
    CHUNK_ROWS,
    UnstorableVector,
    VectorTable,
    growing_table,
    map_distinct,
    row_chunks,
    stored_vectors,
)

TABLE = np.arange(20, dtype=np.float32).reshape(5, 4)


class TestMapDistinct:
    @pytest.mark.parametrize(
        "rows", [[3], [3, 1, 3, 3, 0], [[1, 1], [4, 0], [1, 4]], [[[2], [2]]], []]
    )
    def test_equals_the_function_of_every_row(self, rows: list[object]) -> None:
        indices = np.array(rows, np.int32)
        np.testing.assert_array_equal(
            map_distinct(lambda distinct: tf.gather(TABLE, distinct), indices), TABLE[indices]
        )

    def test_the_function_sees_every_row_once(self) -> None:
        seen = []

        def function(distinct: tf.Tensor) -> tf.Tensor:
            seen.append(distinct.numpy().tolist())
            return tf.gather(TABLE, distinct)

        map_distinct(function, tf.constant([[4, 2], [4, 4], [2, 0]]))
        assert [sorted(rows) for rows in seen] == [[0, 2, 4]]

    def test_gradients_add_up_over_repeats(self) -> None:
        table = tf.Variable(TABLE)
        with tf.GradientTape() as tape:
            result = map_distinct(lambda rows: tf.gather(table, rows), tf.constant([1, 3, 1]))
            loss = tf.reduce_sum(result)
        gradient = tf.convert_to_tensor(tape.gradient(loss, table))
        np.testing.assert_array_equal(gradient[:, 0], [0, 2, 0, 1, 0])

    def test_graph_equals_eager(self) -> None:
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
        def in_graph(rows: tf.Tensor) -> tf.Tensor:
            return map_distinct(lambda distinct: tf.gather(TABLE, distinct), rows)

        rows = np.array([[1, 2, 1]], np.int32)
        np.testing.assert_array_equal(in_graph(rows), TABLE[rows])


class Holder(tf.Module):
    def __init__(self, rows: int):
        super().__init__()
        self.table = growing_table(np.arange(rows * 2).reshape(rows, 2), "holder/t", tf.float32)
        self.names = growing_table(["a"] * rows, "holder/names")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def look_up(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"row": tf.gather(self.table, rows), "name": tf.gather(self.names, rows)}


class TestGrowingTable:
    def test_dtype_name_and_shape(self) -> None:
        holder = Holder(3)
        assert holder.table.name == "holder/t:0" and not holder.table.trainable
        assert holder.table.shape.as_list() == [None, 2] and holder.table.dtype == tf.float32
        assert holder.names.shape.as_list() == [None] and holder.names.dtype == tf.string
        np.testing.assert_array_equal(holder.table, [[0, 1], [2, 3], [4, 5]])

    def test_a_saved_model_takes_a_checkpoint_with_further_rows(self, tmp_path: Path) -> None:
        tf.saved_model.save(Holder(2), str(tmp_path / "model"))
        for file in (tmp_path / "model" / "variables").iterdir():
            file.unlink()
        tf.saved_model.save(Holder(5), str(tmp_path / "longer"))
        for file in (tmp_path / "longer" / "variables").iterdir():
            file.rename(tmp_path / "model" / "variables" / file.name)
        loaded = tf.saved_model.load(str(tmp_path / "model"))
        np.testing.assert_array_equal(loaded.look_up(tf.constant([4, 0]))["row"], [[8, 9], [0, 1]])


class TestRowChunks:
    @pytest.mark.parametrize(
        ("first", "num_rows", "lengths"),
        [(0, 7, [3, 3, 1]), (1, 7, [3, 3]), (1, 4, [3]), (1, 2, [1]), (1, 1, []), (0, 0, [])],
    )
    def test_every_row_is_in_one_chunk(
        self, first: int, num_rows: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 3)
        chunks = list(row_chunks(first, num_rows))
        assert [len(chunk) for chunk in chunks] == lengths
        assert [int(row) for chunk in chunks for row in chunk] == list(range(first, num_rows))
        assert all(chunk.dtype == np.int32 for chunk in chunks)

    def test_a_chunk_of_wide_vectors_stays_small(self) -> None:
        # 4,096 components in double precision: below 512 MB.
        assert CHUNK_ROWS * 4096 * 8 <= 2**29


STORED_VECTORS_TABLE = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)


class TestStoredVectors:
    def test_int8_rows_by_hand(self) -> None:
        stored = stored_vectors(
            np.array([[127, -63.5, 0.4], [0, 0, 0], [1e-3, 5e-4, -1e-3]]), "int8", "t"
        )
        assert stored["values"].dtype == np.int8 and stored["scales"].dtype == np.float32
        # -63.5 lies half way: the even neighbour.
        np.testing.assert_array_equal(stored["values"], [[127, -64, 0], [0, 0, 0], [127, 64, -127]])
        np.testing.assert_allclose(stored["scales"], [1, 0, 1e-3 / 127], rtol=1e-6)

    @pytest.mark.parametrize(
        ("number_format", "bound"),
        [
            ("float32", np.zeros([5, 4])),
            ("float16", np.abs(STORED_VECTORS_TABLE) * 2.0**-11),
            (
                "int8",
                np.abs(STORED_VECTORS_TABLE).max(axis=1, keepdims=True) / 127 / 2 * (1 + 1e-5),
            ),
        ],
    )
    def test_rounding_stays_below_half_a_step(self, number_format: str, bound: np.ndarray) -> None:
        table = VectorTable(STORED_VECTORS_TABLE, number_format, "t")
        assert table.width == 4 and not table.trainable_variables
        rows = np.array([[4, 0], [2, 2]])
        vectors = table(rows)
        assert vectors.dtype == tf.float32
        np.testing.assert_array_equal(vectors, table.all_rows()[rows])
        assert (np.abs(table.all_rows() - STORED_VECTORS_TABLE) <= bound).all()
        assert number_format == "float32" or (table.all_rows() != STORED_VECTORS_TABLE).any()

    def test_one_row_and_no_row(self) -> None:
        table = VectorTable(STORED_VECTORS_TABLE, "int8", "t")
        np.testing.assert_array_equal(table(tf.constant(3)), table.all_rows()[3])
        assert table(tf.zeros([0], tf.int32)).shape == (0, 4)

    @pytest.mark.parametrize("number_format", ["float32", "float16", "int8"])
    def test_a_saved_table_takes_further_rows(self, number_format: str, tmp_path: Path) -> None:
        path = tf.train.Checkpoint(
            table=VectorTable(STORED_VECTORS_TABLE, number_format, "t")
        ).write(str(tmp_path / "checkpoint"))
        other = VectorTable(np.ones([2, 4], np.float32), number_format, "t")
        tf.train.Checkpoint(table=other).read(path).assert_consumed()
        np.testing.assert_array_equal(
            other.all_rows(), VectorTable(STORED_VECTORS_TABLE, number_format, "t").all_rows()
        )

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'int4' is unknown; there are float32, float16, int8"):
            stored_vectors(STORED_VECTORS_TABLE, "int4", "t")
        for number_format, number in (("float32", np.nan), ("int8", np.inf), ("float16", -np.inf)):
            with pytest.raises(UnstorableVector, match="items/t holds a number that is infinite"):
                stored_vectors(np.array([[0, number]]), number_format, "items/t")
        with pytest.raises(
            UnstorableVector, match=r"up to 1e\+05, and float16 ends at 65504; export"
        ):
            VectorTable(np.array([[1, -1e5]]), "float16", "items/t")
