"""Trainings that were interrupted end as unbroken ones do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.scenario import Scenario
from tests.killing import Command
from tests.runs import shared_store
from tests.scenarios import rich_config, tiny_config, tiny_scenario
from trainer import training_loop
from trainer.run_folder import RunFolder
from trainer.training import train
from trainer.training_loop import NanGuard

OPTIONS = {
    "model.match": "ridge",
    "model.dropout_rate": 0.3,
    "model.id_dropout_rate": 0.2,
    "model.knowledge_dropout_rate": 0.2,
    "model.hein.dropout_rate": 0.2,
}


def assert_equal_runs(first: Path, second: Path) -> None:
    """Everything but times and places is equal, weights to the last bit."""
    metrics = [RunFolder(path).read_metrics() for path in (first, second)]
    for each in metrics:
        del each["run"], each["train_seconds"]
    assert metrics[0] == metrics[1]
    histories = [RunFolder(path).read_history() for path in (first, second)]
    for row in [*histories[0], *histories[1]]:
        del row["seconds"]
    assert histories[0] == histories[1]
    readers = [
        tf.train.load_checkpoint(str(path / "checkpoint" / "weights")) for path in (first, second)
    ]
    shapes = readers[0].get_variable_to_shape_map()
    assert shapes == readers[1].get_variable_to_shape_map() and len(shapes) > 10
    for name in shapes.keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}:
        np.testing.assert_array_equal(*(reader.get_tensor(name) for reader in readers), name)
    assert not RunFolder(second).unfinished.exists()


class Interrupted(NanGuard):
    """Presses Ctrl-C in some step of this process."""

    left = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        Interrupted.left -= 1
        if Interrupted.left == 0:
            raise KeyboardInterrupt


def interrupt(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, step: int) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(training_loop, "NanGuard", Interrupted)
        Interrupted.left = step
        with pytest.raises(KeyboardInterrupt):
            train(scenario, shared_store(), progress=False)


PLAIN = {"model.adapter": "none", "model.dropout_rate": 0.3, "model.id_dropout_rate": 0.2}


ONCE = {13: "step 3 of epoch 2"}
TWICE = {8: "step 6 of epoch 1", 9: "step 3 of epoch 2"}
"""Step in which a process is interrupted -> where the next one goes on; nine make an epoch."""


@pytest.mark.parametrize(
    ("form", "changes", "interruptions"),
    [
        pytest.param("memory", PLAIN, ONCE, id="memory"),
        pytest.param("memory", OPTIONS, TWICE, marks=pytest.mark.slow, id="memory-knowledge"),
        pytest.param("stream", OPTIONS, TWICE, marks=pytest.mark.slow, id="stream-knowledge"),
    ],
)
def test_an_interrupted_training_ends_as_an_unbroken_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    changes: Mapping[str, object],
    interruptions: Mapping[int, str],
) -> None:
    options: dict[str, object] = {key.replace(".", "__"): value for key, value in changes.items()}
    options |= {"training__input": form, "training__shuffle_buffer": 300}
    unbroken = tiny_scenario(run_dir=str(tmp_path / "unbroken"), **options)
    train(unbroken, shared_store(), progress=False)
    broken = tiny_scenario(
        run_dir=str(tmp_path / "broken"), training__checkpoint_steps=3, **options
    )
    capsys.readouterr()
    for step in interruptions:
        interrupt(monkeypatch, broken, step)
    train(broken, shared_store(), progress=False)
    told = [line for line in capsys.readouterr().err.splitlines() if "goes on" in line]
    assert told == [f"{broken.run_dir}: goes on after {place}" for place in interruptions.values()]
    assert_equal_runs(tmp_path / "unbroken", tmp_path / "broken")


def test_another_setting_starts_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"model__adapter": "none", "training__checkpoint_steps": 2}
    scenario = tiny_scenario(run_dir=str(tmp_path / "run"), **options)
    interrupt(monkeypatch, scenario, step=3)
    other = tiny_scenario(
        run_dir=str(tmp_path / "run"), training__learning_rate=0.02, model__top_units=[7], **options
    )
    interrupt(monkeypatch, other, step=1)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"{tmp_path}/.run.unfinished: training starts anew; an interrupted one that differs in "
        "model.top_units, training.learning_rate is thrown away"
    )
    # That training has no step to go on from, so there is nothing to be thrown away.
    interrupt(monkeypatch, scenario, step=1)
    assert capsys.readouterr().err == ""


def last_checkpoint(folder: RunFolder) -> int:
    """Number of the last checkpoint of an unfinished run; 0 before the first one."""
    paths = folder.unfinished.glob("training/steps/ckpt-*.index")
    return max((int(path.stem.partition("-")[2]) for path in paths), default=0)


KILLED: dict[str, tuple[str, Sequence[str]]] = {
    "din-memory": ("tiny", ["training.input=memory"]),
    "din-stream": ("tiny", ["training.input=stream", "training.shuffle_buffer=300"]),
    "din-several-steps-in-a-call": ("tiny", ["training.steps_per_execution=3"]),
    "two_tower": ("rich", ["model.backbone=two_tower", "model.match=none"]),
    "prm-stream": ("rich", ["model.backbone=prm", "training.input=stream"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_process_is_continued_by_the_next(
    repository_root: Path, tmp_path: Path, name: str
) -> None:
    which, overrides = KILLED[name]
    config = {"tiny": tiny_config, "rich": rich_config}[which]()
    arguments = ["trainer", "train", "--json", "--config", str(config)]
    arguments += [f"{key}={json.dumps(value)}" for key, value in OPTIONS.items()]
    arguments += [*overrides, "training.epochs=3", "training.patience=3", "training.batch_size=16"]
    command = Command(repository_root, tmp_path)
    result = json.loads(command.run([*arguments, "run_dir=runs/unbroken"]))
    assert result["run"] == "runs/unbroken"
    broken = RunFolder(tmp_path / "runs" / "broken")
    arguments += ["run_dir=runs/broken", "training.checkpoint_steps=7"]
    kills = 0
    for delay in (0.0, 0.1, 0.3):
        before = last_checkpoint(broken)
        kills += command.run_killed(
            arguments, lambda before=before: last_checkpoint(broken) > before, delay
        )
    assert kills >= 2
    command.run(arguments)
    assert_equal_runs(tmp_path / "runs" / "unbroken", broken.path)
