from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from serving.server.batching import BatchingParameters, BatchScheduler, Task
from serving.server.errors import RequestError

LONG = 60_000_000
SECONDS = 30


class Recorder:
    """Answers batches, and keeps the rows of their tasks."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def process(self, tasks: list[Task]) -> None:
        self.entered.set()
        assert self.go.wait(SECONDS)
        self.batches.append([task.rows for task in tasks])
        for task in tasks:
            task.answer.set_result({})


def submit(scheduler: BatchScheduler, process: Callable, *rows: int, key: str = "a") -> list[Task]:
    tasks = [Task({}, one) for one in rows]
    for task in tasks:
        scheduler.submit(key, task, process)
    return tasks


def finish(tasks: list[Task]) -> None:
    for task in tasks:
        task.answer.result(SECONDS)


def test_a_full_batch_runs_without_waiting() -> None:
    recorder = Recorder()
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG))
    finish(submit(scheduler, recorder.process, 1, 2, 1))
    assert recorder.batches == [[1, 2, 1]]
    scheduler.stop()


def test_a_task_that_does_not_fit_closes_the_batch_before_it() -> None:
    recorder = Recorder()
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG))
    finish(submit(scheduler, recorder.process, 3, 2)[:1])
    assert recorder.batches == [[3]]
    scheduler.stop()
    assert recorder.batches == [[3], [2]]


def test_a_lonely_task_runs_after_its_time() -> None:
    recorder = Recorder()
    scheduler = BatchScheduler(BatchingParameters(batch_timeout_micros=1000))
    finish(submit(scheduler, recorder.process, 1))
    assert recorder.batches == [[1]]
    scheduler.stop()


def test_different_keys_never_share_a_batch() -> None:
    recorder = Recorder()
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG))
    first = submit(scheduler, recorder.process, 1, key="a")
    finish(submit(scheduler, recorder.process, 1, 1, key="b"))
    assert recorder.batches == [[1, 1]]
    scheduler.stop()
    finish(first)
    assert recorder.batches == [[1, 1], [1]]


def test_a_full_queue_refuses_and_another_key_does_not() -> None:
    recorder = Recorder()
    recorder.go.clear()
    parameters = BatchingParameters(
        max_batch_size=1, num_batch_threads=1, max_enqueued_batches=2, batch_timeout_micros=LONG
    )
    scheduler = BatchScheduler(parameters)
    tasks = submit(scheduler, recorder.process, 1)
    assert recorder.entered.wait(SECONDS)
    tasks += submit(scheduler, recorder.process, 1, 1)
    with pytest.raises(
        RequestError, match="queue to which this task was submitted is full"
    ) as caught:
        submit(scheduler, recorder.process, 1)
    assert caught.value.code.name == "UNAVAILABLE"
    tasks += submit(scheduler, recorder.process, 1, key="b")
    recorder.go.set()
    finish(tasks)
    scheduler.stop()


def test_what_waits_when_the_scheduler_stops_is_answered_and_later_tasks_are_refused() -> None:
    recorder = Recorder()
    scheduler = BatchScheduler(BatchingParameters(batch_timeout_micros=LONG))
    tasks = submit(scheduler, recorder.process, 1, 1)
    scheduler.stop()
    finish(tasks)
    assert recorder.batches == [[1, 1]]
    with pytest.raises(RequestError, match="stopping"):
        submit(scheduler, recorder.process, 1)
