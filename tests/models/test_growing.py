from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.vector_tables import growing_table


class Holder(tf.Module):
    def __init__(self, rows: int):
        super().__init__()
        self.table = growing_table(np.arange(rows * 2).reshape(rows, 2), "holder/t", tf.float32)
        self.names = growing_table(["a"] * rows, "holder/names")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def look_up(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"row": tf.gather(self.table, rows), "name": tf.gather(self.names, rows)}


def test_dtype_name_and_shape() -> None:
    holder = Holder(3)
    assert holder.table.name == "holder/t:0" and not holder.table.trainable
    assert holder.table.shape.as_list() == [None, 2] and holder.table.dtype == tf.float32
    assert holder.names.shape.as_list() == [None] and holder.names.dtype == tf.string
    np.testing.assert_array_equal(holder.table, [[0, 1], [2, 3], [4, 5]])


def test_a_saved_model_takes_a_checkpoint_with_further_rows(tmp_path: Path) -> None:
    tf.saved_model.save(Holder(2), str(tmp_path / "model"))
    for file in (tmp_path / "model" / "variables").iterdir():
        file.unlink()
    tf.saved_model.save(Holder(5), str(tmp_path / "longer"))
    for file in (tmp_path / "longer" / "variables").iterdir():
        file.rename(tmp_path / "model" / "variables" / file.name)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.look_up(tf.constant([4, 0]))["row"], [[8, 9], [0, 1]])
