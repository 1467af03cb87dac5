"""How requests are merged into batches, with TensorFlow Serving's names, defaults and rules."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from configs.loading import ConfigurationError
from serving.server.text_protos import read_text_message


def _processors() -> int:
    return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """tensorflow.serving.BatchingParameters.

    Attributes:
      max_batch_size: rows of the largest batch; with `enable_large_batch_splitting`, of the largest
        request.
      batch_timeout_micros: how long a request waits for company, in microseconds.
      max_enqueued_batches: batches that may wait, for each version, signature and shape of inputs;
        beyond, requests fail at once.
      num_batch_threads: batches that run at a time; the processors if left out.
      thread_pool_name: a label of the metrics.
      allowed_batch_sizes: batches are filled up to the next of these sizes; empty for any size.
      pad_variable_length_inputs: whether inputs whose further dimensions differ are merged, the
        shorter filled up at their ends with "" and 0. (TensorFlow Serving repeats the first value
        instead.)
      enable_large_batch_splitting: whether a request larger than `max_execution_batch_size` is
        split instead of refused.
      max_execution_batch_size: rows that run together when requests are split; `max_batch_size` if
        left out.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = dataclasses.field(default_factory=_processors)
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          ConfigurationError: one is out of its range, or the sizes do not fit each other.
        """
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            self._check_at_least(name, 1)
        self._check_at_least("batch_timeout_micros", 0)
        if self.max_execution_batch_size is not None:
            self._check_at_least("max_execution_batch_size", 1)
        if self.batch_rows > self.max_batch_size:
            raise ConfigurationError(
                "max_execution_batch_size must not exceed max_batch_size. Received: "
                f"{self.batch_rows} and {self.max_batch_size}"
            )
        sizes = self.allowed_batch_sizes
        if sizes and (sorted(set(sizes)) != list(sizes) or sizes[0] < 1):
            raise ConfigurationError(
                f"allowed_batch_sizes must ascend from 1 or more. Received: {list(sizes)}"
            )
        if sizes and sizes[-1] != self.batch_rows:
            raise ConfigurationError(
                "the last of allowed_batch_sizes must be the largest batch that runs, "
                f"{self.batch_rows}. Received: {sizes[-1]}"
            )

    @property
    def batch_rows(self) -> int:
        """Rows that run together at most."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def filled_size(self, rows: int) -> int:
        """The allowed size that a batch of `rows` is filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def _check_at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value < least:
            raise ConfigurationError(f"{name} must be at least {least}. Received: {value}")


def read_batching_parameters(path: str | Path) -> BatchingParameters:
    """Reads a file as `tensorflow_model_server --batching_parameters_file` does.

    Raises:
      ConfigurationError: the file cannot be read or a value is wrong; the message names the file.
    """
    message = read_text_message(path, "BatchingParameters")
    values: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None:
            values[field.name] = value.value
        elif field.name == "allowed_batch_sizes":
            values[field.name] = tuple(value)
        else:
            values[field.name] = value
    try:
        return BatchingParameters(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
