"""Queues of requests that wait for company, and the threads that run them together."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

import grpc

from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError

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
