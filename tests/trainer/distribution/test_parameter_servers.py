from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tests.trainer.distribution.processes import (
    EXACT,
    Processes,
    checkpoints_of,
    finished,
    history_of,
)
from trainer.distribution.processes import TableParts
from trainer.evaluation.runs import predict_run
from trainer.run_folder import RunFolder

SERVERS = {"training.distribution": "parameter_server"}
CLUSTER = {"ps": 1, "worker": 2, "chief": 1}


@pytest.mark.parametrize(
    ("name", "rows", "trainable", "parts"),
    [
        ("item_id_embedding", 500_000, True, 3),
        ("encoder/genres_embedding", 500_000, True, 3),
        ("item_id_embedding", 40_000, True, 1),
        ("item_id_embedding", 500_000, False, 1),
        ("item_vectors", 500_000, False, 1),
        ("kernel", 500_000, True, 1),
        (None, 500_000, True, 1),
    ],
)
def test_large_embedding_tables_are_cut(
    name: str | None, rows: int, trainable: bool, parts: int
) -> None:
    table_parts = TableParts(servers=3)

    def created(**kwargs: object) -> list[int]:
        return table_parts(tf.TensorShape([rows, 4]), tf.float32)

    assert table_parts.create(created, name=name, trainable=trainable) == [parts, 1]


@pytest.mark.slow
def test_one_worker_trains_as_one_device_does(tmp_path: Path, repository_root: Path) -> None:
    one, run = tmp_path / "one", tmp_path / "run"
    with Processes(repository_root, tmp_path) as processes:
        finished({"alone": processes.start(one, EXACT)})
        finished(processes.start_all(run, EXACT | SERVERS, {"ps": 1, "worker": 1, "chief": 1}))
    actual, expected = history_of(run), history_of(one)
    assert len(actual) == len(expected) == 2
    for row, other in zip(actual, expected, strict=True):
        assert row == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
def test_steps_without_order_learn_too(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.epochs": 6, "training.patience": 6}
    with Processes(repository_root, tmp_path) as processes:
        messages = finished(processes.start_all(run, changes, CLUSTER))
    rows = history_of(run)
    # Adam's first steps on two workers at once are rough, and unlike in every run.
    assert rows[-1]["train_loss"] < 0.5 < rows[0]["train_loss"]
    assert rows[-1]["validation_auc"] > 0.85
    assert "validation AUC" in messages["chief 0"]
    for name in ("worker 0", "worker 1", "ps 0"):
        assert f"{name}: the chief has ended" in messages[name]
    RunFolder(run).load_model()


@pytest.mark.slow
def test_the_others_go_on_without_a_worker(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.checkpoint_steps": 3, "training.epochs": 4}
    with Processes(repository_root, tmp_path) as processes:
        started = processes.start_all(run, changes, CLUSTER)
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        started.pop("worker 1").kill()
        finished(started)
    assert len(history_of(run)) == 4


@pytest.mark.slow
def test_workers_that_come_back_work_on(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.checkpoint_steps": 3, "training.epochs": 4}
    with Processes(repository_root, tmp_path) as processes:
        started = processes.start_all(run, changes, CLUSTER)
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        workers = ("worker 0", "worker 1")
        for name in workers:
            started[name].kill()
        assert not RunFolder(run).is_complete
        for name in workers:
            started[name] = started[name].again()
        messages = finished(started)
    assert all(f"{name}: the chief has ended" in messages[name] for name in workers)
    assert len(history_of(run)) == 4


@pytest.mark.slow
def test_a_chief_that_starts_again_goes_on(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.checkpoint_steps": 3}
    with Processes(repository_root, tmp_path) as processes:
        started = processes.start_all(run, changes, CLUSTER)
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        started.pop("chief 0").kill()
        for name, process in started.items():
            code, message = process.wait()
            assert code == 1
            assert f"{name}: the chief at localhost:" in message and "start all" in message
        again = finished(processes.start_all(run, changes, CLUSTER))
    assert f"{run}: goes on after step " in again["chief 0"]
    assert len(history_of(run)) == 2


@pytest.mark.slow
def test_a_lost_parameter_server_ends_training(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.checkpoint_steps": 3, "training.epochs": 4}
    with Processes(repository_root, tmp_path) as processes:
        started = processes.start_all(run, changes, CLUSTER)
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        started["ps 0"].kill()
        code, message = started["chief 0"].wait()
    assert code == 1
    assert "a parameter server can no longer be reached" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_tables_in_parts_are_trained_and_saved_whole(tmp_path: Path, repository_root: Path) -> None:
    first = "from trainer.distribution import processes as p; p._LEAST_PART_BYTES = 64"
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.embedding_optimizer": "lazy_adam"}
    with Processes(repository_root, tmp_path, first) as processes:
        started = processes.start_all(run, changes, {"ps": 2, "worker": 1, "chief": 1})
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        checkpoint = str(checkpoints_of(run)[0]).removesuffix(".index")
        variables = tf.train.list_variables(checkpoint)
        finished(started)
    shapes = [shape for name, shape in variables if name.startswith("weights/")]
    assert [31, 8] in shapes and [30, 8] in shapes and [61, 8] not in shapes
    actual, expected = predict_run(run, "validation").metrics(), RunFolder(run).read_metrics()
    assert actual["auc"] == pytest.approx(expected["validation"]["auc"], abs=1e-6)
