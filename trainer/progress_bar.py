"""Progress of long work, for people: a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import tensorflow as tf
from tqdm import tqdm

from configs.command_line import say

_SHOWN = ("validation_auc", "validation_ndcg_at_10", "validation_new_items_recall_at_10")

_Item = TypeVar("_Item")


def counted(
    items: Sequence[_Item], what: str, seconds_between_lines: float = 5.0
) -> Iterator[_Item]:
    """Yields items and says on standard error how many are done.

    On a terminal it is a bar with the time that is left; elsewhere a line at the start, at the end
    and now and then.

    Args:
      items: something to be done for each.
      what: is being done.
      seconds_between_lines: at least.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what)
        return
    said = time.monotonic()
    if items:
        say(f"{what}: 0 of {len(items)}")
    for done, item in enumerate(items, start=1):
        yield item
        if done == len(items) or time.monotonic() - said >= seconds_between_lines:
            say(f"{what}: {done} of {len(items)}")
            said = time.monotonic()


class ProgressBar(tf.keras.callbacks.Callback):
    """A bar over the steps of an epoch with the time that is left, and the last validation."""

    def __init__(self, name: str, steps: int, epochs: int):
        """Creates the bar.

        Args:
          name: of the run.
          steps: of an epoch.
          epochs: at most.
        """
        super().__init__()
        self._name = name
        self._steps = steps
        # Only on a terminal: in a log file a bar is noise.
        self._bar = tqdm(total=steps, desc=name, unit="step", mininterval=0.5, disable=None)
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Starts again; the steps of a resumed epoch that are done already count as done."""
        self._bar.reset()
        self._bar.initial = self._bar.n = self._steps - self.params["steps"]
        self._bar.set_description(f"{self._name} epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Moves on to the step, or past several that ran in one call."""
        self._bar.update(self._bar.initial + batch + 1 - self._bar.n)

    def on_epoch_row(self, row: Mapping[str, float]) -> None:
        """Shows the validation result of a finished epoch."""
        shown = {name: f"{row[name]:.4f}" for name in row if name in _SHOWN}
        self._bar.set_postfix(shown)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
