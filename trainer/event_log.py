"""Event files for TensorBoard: loss and learning rate by step, validation by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

_STEPS_BETWEEN = 10


class EventLog(tf.keras.callbacks.Callback):
    """Writes scalars; Keras' own callback opens new files in every call of `fit`, one per epoch.

    Steps are counted by the optimizer, so that a resumed training continues its curves.
    """

    def __init__(self, folder: Path):
        """Opens an event file in a folder."""
        super().__init__()
        self._next_step = 0
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes loss and learning rate of the first step, and of one in ten after it.

        Of several steps that run in one call there is the last one only.
        """
        step = int(self.model.optimizer.iterations)
        if step < self._next_step:
            return
        self._next_step = step + _STEPS_BETWEEN
        with self._writer.as_default(step=step):
            tf.summary.scalar("loss", (logs or {})["loss"])
            tf.summary.scalar("learning_rate", self.model.optimizer.learning_rate)

    def on_epoch_row(self, row: Mapping[str, float]) -> None:
        """Writes a row of history.csv at its epoch."""
        with self._writer.as_default(step=int(row["epoch"])):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(f"epoch_{name}", value)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()
