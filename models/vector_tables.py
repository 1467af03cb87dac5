"""Tables of vectors with any number of rows: number formats, work in parts and by distinct id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import get_args

import numpy as np
import tensorflow as tf

from configs.serving import NumberFormat


def growing_table(
    values: np.ndarray | tf.Tensor | Sequence[str],
    name: str,
    dtype: tf.DType | None = None,
) -> tf.Variable:
    """A variable [rows, ...] that is not trained and whose number of rows may change.

    In a SavedModel the number of rows stands only in the checkpoint, so that a table with further
    rows takes its place without a change of the graph.

    Args:
      values: the rows.
      name: of the variable, by which an export's checkpoint is read again.
      dtype: number format; that of the values if None.
    """
    values = tf.convert_to_tensor(values, dtype=dtype)
    return tf.Variable(
        values, trainable=False, name=name, shape=tf.TensorShape([None, *values.shape[1:]])
    )


CHUNK_ROWS = 8192


def row_chunks(first: int, num_rows: int) -> Iterator[np.ndarray]:
    """Rows first, ..., num_rows - 1 in runs of at most CHUNK_ROWS, int32."""
    for start in range(first, num_rows, CHUNK_ROWS):
        yield np.arange(start, min(start + CHUNK_ROWS, num_rows), dtype=np.int32)


def computed_table(
    function: Callable[[tf.Tensor], tf.Tensor], num_rows: int, width: int, first: int = 0
) -> np.ndarray:
    """What a function of rows gives for every row of a table.

    Args:
      function: int [n] -> [n, width].
      num_rows: rows of the table.
      width: of the results.
      first: the rows before it stay zeros.

    Returns:
      float32 [num_rows, width].
    """
    compute = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False
    ).get_concrete_function()
    table = np.zeros([num_rows, width], np.float32)
    for rows in row_chunks(first, num_rows):
        table[rows] = compute(tf.constant(rows)).numpy()
    return table


def map_distinct(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """Applies a function of rows to the distinct rows only and spreads the result.

    Args:
      function: int [distinct] -> [distinct, ...].
      rows: int [...].

    Returns:
      [..., ...], equal to applying the function to every row.
    """
    distinct, positions = tf.unique(tf.reshape(rows, [-1]))
    return tf.gather(function(distinct), tf.reshape(positions, tf.shape(rows)))


NUMBER_FORMATS: tuple[NumberFormat, ...] = get_args(NumberFormat)
_LARGEST_INT8 = 127


class UnstorableVector(ValueError):
    """A number of a vector does not fit into the number format; the message says which table."""


class VectorTable(tf.Module):
    """Vectors by row, stored as float32, as float16, or as int8 with a scale per row.

    An int8 row is x = scale * q with scale = max |x| / 127, so that rounding moves a component by
    at most half of the row's scale.

    Shapes: rows int [...] -> float32 [..., width].

    Attributes:
      width: width of the vectors.
    """

    def __init__(self, table: np.ndarray, number_format: NumberFormat, name: str):
        """Stores [rows, width], finite.

        Args:
          table: the vectors.
          number_format: how they are stored.
          name: prefix of the variables' names.

        Raises:
          UnstorableVector: a number does not fit into the number format.
          ValueError: the number format is unknown.
        """
        super().__init__(name="vector_table")
        self.width = table.shape[1]
        stored = stored_vectors(table, number_format, name)
        self._values = growing_table(stored["values"], f"{name}/values")
        self._scales = (
            growing_table(stored["scales"], f"{name}/scales") if "scales" in stored else None
        )

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks vectors up."""
        vectors = tf.cast(tf.gather(self._values, rows), tf.float32)
        if self._scales is None:
            return vectors
        return vectors * tf.gather(self._scales, rows)[..., tf.newaxis]

    def all_rows(self) -> np.ndarray:
        """Every row: float32 [rows, width]."""
        return self(tf.range(tf.shape(self._values)[0])).numpy()


def stored_vectors(
    table: np.ndarray, number_format: NumberFormat, name: str
) -> dict[str, np.ndarray]:
    """Vectors as a `VectorTable` stores them.

    Args:
      table: [rows, width].
      number_format: one of `NUMBER_FORMATS`.
      name: of the table, for messages.

    Returns:
      "values" [rows, width], and for int8 "scales" float32 [rows].

    Raises:
      UnstorableVector: a number does not fit into the number format.
      ValueError: the number format is unknown.
    """
    table = np.asarray(table, np.float32)
    if number_format not in NUMBER_FORMATS:
        names = ", ".join(NUMBER_FORMATS)
        raise ValueError(f"number format '{number_format}' is unknown; there are {names}")
    largest = np.abs(table).max(initial=0.0)
    if not np.isfinite(largest):
        raise UnstorableVector(f"{name} holds a number that is infinite or no number at all")
    if number_format == "float16" and largest > np.finfo(np.float16).max:
        raise UnstorableVector(
            f"{name} holds numbers up to {largest:.3g}, and float16 ends at "
            f"{np.finfo(np.float16).max:g}; export with serving.augmented_dtype=float32"
        )
    if number_format != "int8":
        return {"values": table.astype(number_format)}
    scales = np.abs(table).max(axis=1, initial=0.0) / np.float32(_LARGEST_INT8)
    divisors = np.where(scales > 0, scales, np.float32(1))
    quantised = np.rint(table / divisors[:, np.newaxis])
    # The quotient of a row's largest number may round to more than 127.
    limited = np.clip(quantised, -_LARGEST_INT8, _LARGEST_INT8)
    return {"values": limited.astype(np.int8), "scales": scales.astype(np.float32)}


class AugmentedTables(tf.Module):
    """Stored augmented vectors: what an export has in place of knowledge vectors and adapter.

    Shapes: source -> rows int [...] in; source -> [..., width] float32 out, as an adapter's. A call
      may name some of the sources only.
    """

    def __init__(self, tables: Mapping[str, np.ndarray], number_format: NumberFormat = "float32"):
        """Stores one array [rows, width] per source."""
        super().__init__(name="augmented_tables")
        self._tables = {
            source: VectorTable(table, number_format, f"knowledge/{source}/augmented")
            for source, table in tables.items()
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return tuple(self._tables)

    def __call__(
        self, rows: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Augmented vectors of knowledge rows; they are the same in training."""
        return {
            source: table(rows[source]) for source, table in self._tables.items() if source in rows
        }
