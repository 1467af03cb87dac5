from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from configs.command_line import CommandError
from tests.trainer.experiments.processes import workers_of
from tests.trainer.experiments.test_trainers import NOT_BUILDABLE, job_in
from trainer.experiments.trainers import Task, Trainer, WorkerPool, WorkerProcess
from trainer.run_folder import RunFolder
from trainer.tracking import EpochRow
from trainer.tuning import SettingFailed

pytestmark = pytest.mark.slow

LONG = {"training__epochs": 1000, "training__patience": 1000}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    log = tmp_path_factory.mktemp("logs") / "worker1.log"
    process = WorkerProcess(1, log, "pool_test", None)
    yield process
    process.stop()


def test_a_run_is_trained_in_the_process(worker: WorkerProcess, tmp_path: Path) -> None:
    rows: list[EpochRow] = []
    metrics = worker.train(job_in(tmp_path), [rows.append])
    assert RunFolder(tmp_path / "run").read_metrics() == metrics
    assert [row["epoch"] for row in rows] == [1]
    assert len(workers_of("pool_test")) == 1


def test_errors_come_back_and_the_process_goes_on(worker: WorkerProcess, tmp_path: Path) -> None:
    with pytest.raises(SettingFailed, match="the model cannot be built"):
        worker.train(job_in(tmp_path, **NOT_BUILDABLE))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other files than a run's"):
        worker.train(job_in(tmp_path))
    assert worker.train(job_in(tmp_path / "other"))["epochs"] == 1


def test_a_process_that_dies_is_reported_and_replaced(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    def kill(row: EpochRow) -> None:
        (pid,) = workers_of("pool_test")
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(CommandError, match="the process that trained it was ended by signal 9"):
        worker.train(job_in(tmp_path, **LONG), [kill])
    assert worker.train(job_in(tmp_path / "again"))["epochs"] == 1


def test_a_stopped_process_trains_no_more(tmp_path: Path) -> None:
    stopped = WorkerProcess(1, tmp_path / "log", "pool_test_stopped", None)
    stopped.stop()
    with pytest.raises(CommandError, match="the experiment was stopped"):
        stopped.train(job_in(tmp_path))


def test_tasks_are_shared_and_what_follows_comes_before_what_waits(tmp_path: Path) -> None:
    """No process is started, as these tasks train nothing."""
    order: list[str] = []

    def task(name: str, *following: str, seconds: float = 0.0) -> Task:
        def do(trainer: Trainer) -> Sequence[Task]:
            time.sleep(seconds)
            order.append(name)
            return [task(one) for one in following]

        return do

    pool = WorkerPool(2, tmp_path / "logs", "pool_test_tasks", None)
    pool.run([task("slow", seconds=1.5), task("a", "a1", "a2"), task("b")])
    assert order == ["a", "a1", "a2", "b", "slow"]
    assert workers_of("pool_test_tasks") == [] and not (tmp_path / "logs").exists()


def test_an_interrupt_ends_the_processes(tmp_path: Path) -> None:
    def train(trainer: Trainer) -> Sequence[Task]:
        with pytest.raises(CommandError):
            trainer.train(job_in(tmp_path, **LONG))
        return []

    def interrupt(trainer: Trainer) -> Sequence[Task]:
        while not workers_of("pool_test_interrupt"):
            time.sleep(0.05)
        raise KeyboardInterrupt

    pool = WorkerPool(2, tmp_path / "logs", "pool_test_interrupt", None)
    with pytest.raises(KeyboardInterrupt):
        pool.run([train, interrupt])
    assert workers_of("pool_test_interrupt") == []
