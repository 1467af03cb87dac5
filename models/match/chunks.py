"""Computing in chunks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

_CHUNKS_AT_ONCE = 4


def in_chunks(
    function: Callable[..., tf.Tensor], tensors: Sequence[tf.Tensor], rows: int
) -> tf.Tensor:
    """Applies a function of aligned tensors to a few rows at a time.

    The intermediate results of a whole batch (a matrix per row) are written to main memory and read
    back by the next operation, which costs more than computing them; those of a chunk are not.

    Args:
      function: tensors [k, ...] -> [k, items, features], row by row.
      tensors: of one length.
      rows: length of a chunk.

    Returns:
      The function's result over all rows.
    """
    length = tensors[0].shape[0]
    if length is not None and length <= rows:
        return function(*tensors)
    chunks = tf.maximum((tf.shape(tensors[0])[0] + rows - 1) // rows, 1)
    results = tf.TensorArray(tf.float32, size=chunks, infer_shape=False)

    def one_chunk(index: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        chunk = slice(index * rows, (index + 1) * rows)
        return index + 1, results.write(index, function(*(tensor[chunk] for tensor in tensors)))

    _, results = tf.while_loop(
        lambda index, _: index < chunks,
        one_chunk,
        [0, results],
        parallel_iterations=_CHUNKS_AT_ONCE,
    )
    return results.concat()
