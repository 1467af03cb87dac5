"""Dynamic batching: requests to one signature of one version run together."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from configs.loading import ConfigurationError
from serving.protocol import server_files_pb2
from serving.server import metrics
from serving.server.errors import RequestError, invalid
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
    message = read_text_message(path, server_files_pb2.BatchingParameters)
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


Arrays = Mapping[str, np.ndarray]


def is_mergeable(
    inputs: Mapping[str, tf.TensorSpec], outputs: Mapping[str, tf.TensorSpec], padded: bool
) -> bool:
    """Whether a signature's requests may be merged row by row.

    Every input and output needs a first dimension of any length; so `rank`, whose user is one row,
    is never merged. An output's further dimensions must not depend on the company a request is in:
    they are fixed, or (unless inputs are padded) as long as a further dimension of an input, which
    merged requests have in common.

    Args:
      inputs: input name -> type and shape.
      outputs: likewise.
      padded: whether inputs of different lengths are merged.
    """
    specifications = [*inputs.values(), *outputs.values()]
    if not inputs or not outputs or not all(map(_has_free_rows, specifications)):
        return False
    if all(map(_is_fixed_within_a_row, outputs.values())):
        return True
    return not padded and not all(map(_is_fixed_within_a_row, inputs.values()))


def rows_of(inputs: Arrays) -> int | None:
    """Rows that all inputs have in common; None if they differ or there are none."""
    lengths = {len(array) if array.ndim else 0 for array in inputs.values()}
    return next(iter(lengths)) or None if len(lengths) == 1 else None


def shapes_within_a_row(inputs: Arrays) -> Hashable:
    """What requests that are merged without padding must have in common."""
    return tuple((name, inputs[name].shape[1:]) for name in sorted(inputs))


def order_of_lengths(inputs: Arrays) -> Hashable:
    """What requests that are merged with padding must have in common.

    Which of their inputs' further dimensions are equal, and which larger: filled up together, lists
    that differ in length in one request differ in all, so that a model can still refuse them.
    """
    lengths = [length for name in sorted(inputs) for length in inputs[name].shape[1:]]
    places = {length: place for place, length in enumerate(sorted(set(lengths)))}
    return tuple(places[length] for length in lengths)


def merge(requests: Sequence[Arrays], size: int) -> dict[str, np.ndarray]:
    """Puts requests one below the other.

    Args:
      requests: input name -> array; further dimensions of different lengths are filled up at their
        ends with b"" or 0.
      size: rows of the result; those that are missing repeat the last request's first row.

    Returns:
      Input name -> array of `size` rows.
    """
    merged = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        length = np.max([part.shape[1:] for part in parts], axis=0)
        parts = [_filled_up(part, tuple(length)) for part in parts]
        missing = size - sum(map(len, parts))
        if missing:
            parts.append(np.repeat(parts[-1][:1], missing, axis=0))
        merged[name] = np.concatenate(parts)
    return merged


def split(outputs: Arrays, rows: Sequence[int], size: int) -> list[dict[str, np.ndarray]] | None:
    """Takes the answers apart.

    Args:
      outputs: of the merged requests.
      rows: of each request.
      size: rows that ran, with those that filled up.

    Returns:
      The outputs of each request; None if an output does not have one row per row of input.
    """
    if any(array.ndim == 0 or len(array) != size for array in outputs.values()):
        return None
    ends = np.cumsum(rows).tolist()
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]


def _has_free_rows(specification: tf.TensorSpec) -> bool:
    shape = specification.shape
    return bool(shape.rank) and shape[0] is None


def _is_fixed_within_a_row(specification: tf.TensorSpec) -> bool:
    return specification.shape[1:].is_fully_defined()


def _filled_up(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == shape:
        return array
    filling: object = b"" if array.dtype == object else 0
    filled = np.full((len(array), *shape), filling, dtype=array.dtype)
    filled[tuple(slice(length) for length in array.shape)] = array
    return filled


_QUEUE_FULL = "The batch scheduling queue to which this task was submitted is full"


@dataclasses.dataclass(frozen=True)
class Task:
    """A request, or a piece of a large one.

    Attributes:
      inputs: input name -> array.
      rows: length of their first dimension.
      answer: gets the outputs, or the error.
      arrived: `time.monotonic()` when it was made.
    """

    inputs: dict[str, Any]
    rows: int
    answer: Future[dict[str, Any]] = dataclasses.field(default_factory=Future)
    arrived: float = dataclasses.field(default_factory=time.monotonic)


Process = Callable[[list[Task]], None]


@dataclasses.dataclass
class _Batch:
    process: Process
    opened: float
    tasks: list[Task] = dataclasses.field(default_factory=list)
    rows: int = 0


class BatchScheduler:
    """Forms batches, one queue for each key, and runs them in threads that all queues share.

    A batch runs when it is full, when its first task has waited long enough, or when a later batch
    of its queue has been opened.
    """

    def __init__(self, parameters: BatchingParameters):
        self._parameters = parameters
        self._queues: dict[Hashable, collections.deque[_Batch]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: Hashable, task: Task, process: Process) -> None:
        """Queues a task.

        Args:
          key: tasks of equal keys may run together.
          task: at most `batch_rows` rows.
          process: answers the tasks of a batch; it must not raise.

        Raises:
          RequestError: UNAVAILABLE; the queue is full, or the server is stopping.
        """
        with self._changed:
            if self._stopping:
                raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
            queue = self._queues.setdefault(key, collections.deque())
            if not queue or queue[-1].rows + task.rows > self._parameters.batch_rows:
                if len(queue) >= self._parameters.max_enqueued_batches:
                    raise RequestError(grpc.StatusCode.UNAVAILABLE, _QUEUE_FULL)
                queue.append(_Batch(process, task.arrived))
            queue[-1].tasks.append(task)
            queue[-1].rows += task.rows
            self._changed.notify()

    def stop(self) -> None:
        """Runs what waits, and ends the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            batch.process(batch.tasks)
            # The thread must not keep a model alive while it waits.
            del batch

    def _next_batch(self) -> _Batch | None:
        with self._changed:
            while True:
                now = time.monotonic()
                due = {key: self._due(queue) for key, queue in self._queues.items()}
                if not due and self._stopping:
                    return None
                key = min(due, key=lambda one: due[one], default=None)
                if key is not None and (due[key] <= now or self._stopping):
                    batch = self._queues[key].popleft()
                    if not self._queues[key]:
                        del self._queues[key]
                    return batch
                wait = None if key is None else due[key] - now
                del key, due
                self._changed.wait(wait)

    def _due(self, queue: collections.deque[_Batch]) -> float:
        first = queue[0]
        is_closed = len(queue) > 1 or first.rows >= self._parameters.batch_rows
        wait = 0.0 if is_closed else self._parameters.batch_timeout_micros / 1e6
        return first.opened + wait


Outputs = dict[str, np.ndarray]
Execute = Callable[[dict[str, np.ndarray]], Outputs]


class Batching:
    """Merges requests whose signature allows it.

    Attributes:
      parameters: sizes, times and threads.
    """

    def __init__(self, parameters: BatchingParameters):
        self.parameters = parameters
        self._scheduler = BatchScheduler(parameters)

    def run(self, key: Hashable, execute: Execute, inputs: dict[str, np.ndarray]) -> Outputs:
        """Runs a request, together with others that wait.

        Args:
          key: version and signature; requests of equal keys and shapes are merged.
          execute: runs a batch.
          inputs: input name -> array; their first dimensions are rows. Where these differ the
            request runs alone.

        Returns:
          The outputs for the request's rows.

        Raises:
          RequestError: INVALID_ARGUMENT for more than `max_batch_size` rows, UNAVAILABLE when too
            many wait, or whatever `execute` raises for this request.
        """
        rows = rows_of(inputs)
        if rows is None:
            return execute(inputs)
        largest = self.parameters.max_batch_size
        if rows > largest:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {largest}")
        padded = self.parameters.pad_variable_length_inputs
        shapes = order_of_lengths(inputs) if padded else shapes_within_a_row(inputs)
        tasks = _pieces(inputs, rows, self.parameters.batch_rows)
        self._submit((key, shapes), execute, tasks)
        answers = []
        while tasks:
            # No frame that an error's traceback leads to may refer to the error's task, here or
            # below: a cycle would keep the model alive.
            answers.append(tasks.pop(0).answer.result())
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}

    def stop(self) -> None:
        """Runs what waits; later requests are refused."""
        self._scheduler.stop()

    def _submit(self, key: Hashable, execute: Execute, tasks: list[Task]) -> None:
        for task in tasks:
            self._scheduler.submit(key, task, lambda batch: self._process(execute, batch))

    def _process(self, execute: Execute, tasks: list[Task]) -> None:
        answers = self._run_together(execute, tasks)
        if answers is None:
            # One bad row fails all that run with it, so the others get an answer of their own.
            while tasks:
                _answer_alone(execute, tasks.pop(0))
            return
        for task, answer in zip(tasks, answers, strict=True):
            task.answer.set_result(answer)

    def _run_together(self, execute: Execute, tasks: list[Task]) -> list[Outputs] | None:
        rows = [task.rows for task in tasks]
        size = self.parameters.filled_size(sum(rows))
        now = time.monotonic()
        waits = [now - task.arrived for task in tasks]
        metrics.record_batch(self.parameters.thread_pool_name, waits, rows, size)
        if len(tasks) == 1 and size == rows[0]:
            return None
        try:
            return split(execute(merge([task.inputs for task in tasks], size)), rows, size)
        except Exception:
            return None


def _pieces(inputs: dict[str, np.ndarray], rows: int, largest: int) -> list[Task]:
    return [
        Task(
            {name: array[start : start + largest] for name, array in inputs.items()},
            min(largest, rows - start),
        )
        for start in range(0, rows, largest)
    ]


def _answer_alone(execute: Execute, task: Task) -> None:
    try:
        task.answer.set_result(execute(task.inputs))
    except Exception as error:
        task.answer.set_exception(error)
        del task, execute
