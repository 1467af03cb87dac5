"""Dynamic batching: requests to one signature of one version run together."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

import numpy as np

from serving.server import metrics
from serving.server.batch_merging import (
    merge,
    order_of_lengths,
    rows_of,
    shapes_within_a_row,
    split,
)
from serving.server.batch_scheduler import BatchScheduler, Task
from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import invalid

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
