from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.ports import free_ports
from tests.scenarios import tiny_scenario
from tests.trainer.distribution.processes import (
    EXACT,
    Processes,
    checkpoints_of,
    finished,
    history_of,
)
from trainer.run_folder import RunFolder
from trainer.training import train

pytestmark = pytest.mark.slow

TOGETHER = {"training.distribution": "multi_worker"}
RANDOM = {"model.match": "ridge", "model.dropout_rate": 0.3, "model.id_dropout_rate": 0.2}


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """history.csv of the same training on one device."""
    run = tmp_path_factory.mktemp("one_device") / "run"
    changes = {key.replace(".", "__"): value for key, value in EXACT.items()}
    train(tiny_scenario(run_dir=str(run), **changes), progress=False)
    return history_of(run)


def weights_of(run: Path) -> dict[str, np.ndarray]:
    """The numbers that a run folder keeps."""
    checkpoint = tf.train.load_checkpoint(str(run / "checkpoint" / "weights"))
    names = [name for name in checkpoint.get_variable_to_shape_map() if "VARIABLE" in name]
    return {name: checkpoint.get_tensor(name) for name in names}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_workers_train_as_one_device_does(
    count: int, one_device: list[dict[str, float]], tmp_path: Path, repository_root: Path
) -> None:
    run = tmp_path / "run"
    with Processes(repository_root, tmp_path) as processes:
        messages = finished(processes.start_all(run, EXACT | TOGETHER, {"worker": count}))
    actual = history_of(run)
    assert len(actual) == len(one_device)
    for row, expected in zip(actual, one_device, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)
    # One folder, written by the chief, who alone says what came out.
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]
    assert {path.name for path in run.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "history.csv",
        "checkpoint",
    }
    assert ["validation AUC" in text for text in messages.values()] == [True] + [False] * (
        count - 1
    )
    for name, text in messages.items():
        assert f"{name}: waits for the other workers, at localhost:" in text
    scenario, model = RunFolder(run).load_model()
    assert scenario.training.distribution == "multi_worker" and model.kind == "ctr"


@pytest.mark.parametrize("count", [2, 4])
def test_a_killed_worker_costs_no_more_than_the_way_from_the_last_checkpoint(
    count: int, tmp_path: Path, repository_root: Path
) -> None:
    changes = {**RANDOM, **TOGETHER, "training.checkpoint_steps": 3}
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    with Processes(repository_root, tmp_path) as processes:
        first = processes.start_all(broken, changes, {"worker": count})
        first["worker 0"].wait_until(lambda: bool(checkpoints_of(broken)))
        first.pop(f"worker {count - 1}").kill()
        for process in first.values():
            code, message = process.wait()
            assert code == 1 and not RunFolder(broken).is_complete
            assert "another worker can no longer be reached" in message
            assert "start all of them again" in message and "Traceback" not in message
        again = finished(processes.start_all(broken, changes, {"worker": count}))
        finished(processes.start_all(unbroken, changes, {"worker": count}))
    assert f"{broken}: goes on after step " in again.pop("worker 0")
    assert not any("goes on" in text for text in again.values())
    expected, actual = history_of(unbroken), history_of(broken)
    assert len(actual) == len(expected)
    for row, other in zip(actual, expected, strict=True):
        assert row == pytest.approx(other, abs=1e-6)
    weights, others = weights_of(broken), weights_of(unbroken)
    assert weights.keys() == others.keys() and len(weights) > 50
    for name, values in weights.items():
        np.testing.assert_allclose(values, others[name], atol=1e-6, err_msg=name)


def test_workers_with_files_of_their_own_learn_too(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **TOGETHER, "training.input": "stream", "training.sharding": "files"}
    with Processes(repository_root, tmp_path) as processes:
        finished(processes.start_all(run, changes, {"chief": 1, "worker": 1}))
        refused = processes.start_all(tmp_path / "refused", changes, {"worker": 3})
        for process in refused.values():
            code, message = process.wait()
            assert code == 2
            assert "2 files of training examples are too few for 3 workers" in message
    last = history_of(run)[-1]
    assert last["validation_auc"] > 0.8


def test_workers_with_other_settings_are_refused(tmp_path: Path, repository_root: Path) -> None:
    with free_ports(2) as ports:
        addresses = [f"localhost:{port}" for port in ports]
    with Processes(repository_root, tmp_path) as processes:
        workers = [
            processes.start(
                tmp_path / "run",
                {**EXACT, **TOGETHER, "training.learning_rate": rate},
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}},
            )
            for index, rate in enumerate((0.01, 0.02))
        ]
        for worker in workers:
            code, message = worker.wait()
            assert code == 1
            assert "different settings, data or code" in message
