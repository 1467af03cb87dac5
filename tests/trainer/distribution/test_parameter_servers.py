from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.distribution.processes import (
    EXACT,
    Processes,
    checkpoints_of,
    finished,
    history_of,
)
from trainer.run_folder import RunFolder

pytestmark = pytest.mark.slow

SERVERS = {"training.distribution": "parameter_server"}
CLUSTER = {"ps": 1, "worker": 2, "chief": 1}


def test_workers_learn_what_one_device_learns(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    with Processes(repository_root, tmp_path) as processes:
        messages = finished(processes.start_all(run, EXACT | SERVERS, CLUSTER))
    rows = history_of(run)
    # Steps have no order, so the losses are near those of one device, 0.547 and 0.462.
    assert [row["train_loss"] for row in rows] == pytest.approx([0.547, 0.462], abs=0.05)
    assert rows[-1]["validation_auc"] == pytest.approx(0.904, abs=0.03)
    assert "validation AUC" in messages["chief 0"]
    for name in ("worker 0", "worker 1", "ps 0"):
        assert f"{name}: the chief has ended" in messages[name]
    RunFolder(run).load_model()


def test_the_others_go_on_without_a_worker(tmp_path: Path, repository_root: Path) -> None:
    run = tmp_path / "run"
    changes = {**EXACT, **SERVERS, "training.checkpoint_steps": 3, "training.epochs": 4}
    with Processes(repository_root, tmp_path) as processes:
        started = processes.start_all(run, changes, CLUSTER)
        started["chief 0"].wait_until(lambda: bool(checkpoints_of(run)))
        started.pop("worker 1").kill()
        finished(started)
    assert len(history_of(run)) == 4


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
