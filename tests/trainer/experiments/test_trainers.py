from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from tests.scenarios import tiny_scenario
from tests.trainer.experiments.processes import workers_of
from tests.waiting import wait_until
from trainer.examples import ExampleStore
from trainer.experiments.trainers import (
    Job,
    LocalTrainer,
    Task,
    Trainer,
    TrainerProcess,
    WorkerPool,
    reason_text,
)
from trainer.run_folder import RunFolder
from trainer.tracking import EpochRow, Tracking
from trainer.tuning import SettingFailed

NOT_BUILDABLE = {"model__backbone": "bst", "model__backbone_options": {"num_heads": 3}}


def job_in(folder: Path, **assignments: object) -> Job:
    """A run of DIN without knowledge, one epoch long."""
    defaults = {
        "run_dir": str(folder / "run"),
        "model__adapter": "none",
        "training__epochs": 1,
    }
    return Job(tiny_scenario(**{**defaults, **assignments}), {"role": "seed 1"})


class Notes(Tracking):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tags: dict[str, str] = {}

    def start_run(self, scenario: Scenario, folder: Path, tags: dict[str, str]) -> None:
        self.told.append(f"start {folder.name}")
        self.tags = dict(tags)

    def log_epoch(self, row: EpochRow) -> None:
        self.told.append(f"epoch {row['epoch']:.0f}")

    def finish(self, folder: Path) -> None:
        self.told.append(f"finish {folder.name}")

    def abandon(self, reason: str) -> None:
        self.told.append(f"abandon {reason}")


@pytest.mark.slow
def test_a_run_is_trained_and_told(tmp_path: Path) -> None:
    notes, rows = Notes(), []
    job = job_in(tmp_path)
    metrics = LocalTrainer(ExampleStore(), notes).train(job, [rows.append])
    assert RunFolder(tmp_path / "run").read_metrics() == metrics
    assert [row["epoch"] for row in rows] == [1]
    assert rows[0]["validation_auc"] == metrics["validation"]["auc"]
    assert notes.told == ["start run", "epoch 1", "finish run"]
    assert notes.tags["role"] == "seed 1" and notes.tags["backbone"] == "din"
    assert notes.tags["code_version"] == metrics["code_version"]


@pytest.mark.slow
def test_settings_that_cannot_be_trained_are_told_apart(tmp_path: Path) -> None:
    notes = Notes()
    trainer = LocalTrainer(ExampleStore(), notes)
    with pytest.raises(SettingFailed, match="the model cannot be built"):
        trainer.train(job_in(tmp_path, **NOT_BUILDABLE))
    with pytest.raises(SettingFailed, match="finite|nan"):
        trainer.train(job_in(tmp_path, training__learning_rate=1e30))
    assert [line.partition(" ")[0] for line in notes.told] == ["start", "abandon"] * 2


def test_other_errors_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other files than a run's"):
        LocalTrainer(ExampleStore(), Tracking()).train(job_in(tmp_path))


def test_data_and_devices_are_not_the_settings_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = LocalTrainer(ExampleStore(), Tracking())
    other = tmp_path / "other.jsonl"
    other.touch()
    moved = {"model__adapter": "hein", "knowledge__answers__item__individual": [str(other)]}
    with pytest.raises(ConfigurationError, match="was built from other files"):
        trainer.train(job_in(tmp_path, **moved))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ConfigurationError, match="TensorFlow sees no GPU"):
        trainer.train(job_in(tmp_path, training__distribution="mirrored"))


def test_what_follows_from_a_task_is_done_right_after_it() -> None:
    done: list[str] = []

    def task(name: str, *following: str) -> Task:
        def do(trainer: Trainer) -> Sequence[Task]:
            done.append(name)
            return [task(one) for one in following]

        return do

    LocalTrainer(ExampleStore(), Tracking()).run([task("a", "a1", "a2"), task("b", "b1")])
    assert done == ["a", "a1", "a2", "b", "b1"]


def test_reasons_are_messages_or_the_end_of_a_traceback() -> None:
    assert reason_text(CommandError("no such file")) == "no such file"
    assert reason_text(ConfigurationError("wrong")) == "wrong"
    assert reason_text(OSError(28, "No space left on device")).endswith("No space left on device")
    try:
        override_scenario(None, {})  # type: ignore[arg-type]
    except AttributeError as error:
        text = reason_text(error)
    assert text.splitlines()[-1].startswith("AttributeError: 'NoneType'")
    assert len(text.splitlines()) <= 8 and "loading.py" in text


LONG = {"training__epochs": 1000, "training__patience": 1000}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainerProcess]:
    log = tmp_path_factory.mktemp("logs") / "worker1.log"
    process = TrainerProcess(1, log, "pool_test", None)
    yield process
    process.stop()


@pytest.mark.slow
def test_a_run_is_trained_in_the_process(worker: TrainerProcess, tmp_path: Path) -> None:
    rows: list[EpochRow] = []
    metrics = worker.train(job_in(tmp_path), [rows.append])
    assert RunFolder(tmp_path / "run").read_metrics() == metrics
    assert [row["epoch"] for row in rows] == [1]
    assert len(workers_of("pool_test")) == 1


@pytest.mark.slow
def test_errors_come_back_and_the_process_goes_on(worker: TrainerProcess, tmp_path: Path) -> None:
    with pytest.raises(SettingFailed, match="the model cannot be built"):
        worker.train(job_in(tmp_path, **NOT_BUILDABLE))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other files than a run's"):
        worker.train(job_in(tmp_path))
    assert worker.train(job_in(tmp_path / "other"))["epochs"] == 1


@pytest.mark.slow
def test_a_process_that_dies_is_reported_and_replaced(
    worker: TrainerProcess, tmp_path: Path
) -> None:
    def kill(row: EpochRow) -> None:
        (pid,) = workers_of("pool_test")
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(CommandError, match="the process that trained it was ended by signal 9"):
        worker.train(job_in(tmp_path, **LONG), [kill])
    assert worker.train(job_in(tmp_path / "again"))["epochs"] == 1


@pytest.mark.slow
def test_a_stopped_process_trains_no_more(tmp_path: Path) -> None:
    stopped = TrainerProcess(1, tmp_path / "log", "pool_test_stopped", None)
    stopped.stop()
    with pytest.raises(CommandError, match="the experiment was stopped"):
        stopped.train(job_in(tmp_path))


def test_tasks_are_shared_and_what_follows_comes_before_what_waits(tmp_path: Path) -> None:
    """No process is started, as these tasks train nothing."""
    order: list[str] = []

    def task(name: str, *following: str, after: int = 0) -> Task:
        def do(trainer: Trainer) -> Sequence[Task]:
            wait_until(lambda: len(order) >= after)
            order.append(name)
            return [task(one) for one in following]

        return do

    pool = WorkerPool(2, None, tmp_path / "logs", "pool_test_tasks", None)
    pool.run([task("slow", after=4), task("a", "a1", "a2"), task("b")])
    assert order == ["a", "a1", "a2", "b", "slow"]
    assert workers_of("pool_test_tasks") == [] and not (tmp_path / "logs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [None, 3])
def test_processes_share_the_cores_or_have_threads_as_asked(
    threads: int | None, tmp_path: Path
) -> None:
    asked: list[str] = []

    def note(row: EpochRow) -> None:
        (pid,) = workers_of("pool_test_threads")
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        asked.append(words[words.index("--threads") + 1])

    def train(trainer: Trainer) -> Sequence[Task]:
        trainer.train(job_in(tmp_path), [note])
        return []

    WorkerPool(2, threads, tmp_path / "logs", "pool_test_threads", None).run([train])
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert asked == [str(threads or share)]


@pytest.mark.slow
def test_with_as_many_threads_a_process_trains_what_this_one_would(tmp_path: Path) -> None:
    threads = len(os.sched_getaffinity(0))
    other = TrainerProcess(threads, tmp_path / "log", "pool_test_same", None)
    there = other.train(job_in(tmp_path / "there"))
    other.stop()
    here = LocalTrainer(ExampleStore(), Tracking()).train(job_in(tmp_path / "here"))
    assert there["validation"] == here["validation"]


@pytest.mark.slow
def test_an_interrupt_ends_the_processes(tmp_path: Path) -> None:
    def train(trainer: Trainer) -> Sequence[Task]:
        with pytest.raises(CommandError):
            trainer.train(job_in(tmp_path, **LONG))
        return []

    def interrupt(trainer: Trainer) -> Sequence[Task]:
        while not workers_of("pool_test_interrupt"):
            time.sleep(0.05)
        raise KeyboardInterrupt

    pool = WorkerPool(2, None, tmp_path / "logs", "pool_test_interrupt", None)
    with pytest.raises(KeyboardInterrupt):
        pool.run([train, interrupt])
    assert workers_of("pool_test_interrupt") == []
