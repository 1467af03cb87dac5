"""Progress of a training, for people in front of a terminal."""

from __future__ import annotations

import tensorflow as tf
from tqdm import tqdm

from trainer.best_epoch import BestEpoch


class ProgressBar(tf.keras.callbacks.Callback):
    """A bar over the steps of all epochs, with the last validation result."""

    def __init__(self, name: str, steps: int, epochs: int, history: BestEpoch):
        """Creates the bar.

        Args:
          name: of the run.
          steps: of an epoch.
          epochs: at most.
          history: gives the last validation result; it must come before the bar in the callbacks.
        """
        super().__init__()
        self._name = name
        # Only on a terminal: in a log file a bar is noise.
        self._bar = tqdm(total=steps, desc=name, unit="step", mininterval=0.5, disable=None)
        self._epochs = epochs
        self._history = history

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts again at the left."""
        self._bar.reset()
        self._bar.set_description(f"{self._name} epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves on by a step."""
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Shows the validation result."""
        self._bar.set_postfix(self._history.last_result())

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
