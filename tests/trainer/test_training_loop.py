from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.training import Training
from tests.trainer.toy_training import ToyModel, toy_examples, toy_model, values_of
from trainer import training_loop
from trainer.predictions import SamplePredictions
from trainer.training_checkpoints import TrainingCheckpoints, TrainingState
from trainer.training_input import MemoryInput
from trainer.training_loop import TrainingLoop, best_metrics

STEPS = 5
"""Of an epoch: 40 examples in batches of 8."""


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Scripted:
    """Predictions with given metrics."""

    measured: Mapping[str, float]
    selection_metric: str = "auc"

    def metrics(self) -> Mapping[str, float]:
        return {"n": 40, **self.measured}


class CountedCheckpoints(TrainingCheckpoints):
    """Notes after which steps it was asked to save."""

    def save(self, state: TrainingState) -> None:
        super().save(state)
        self.saved = [*getattr(self, "saved", []), (state.epoch, state.step)]


@dataclass
class Run:
    """A training of the toy model in a process of its own, as far as it can tell.

    Attributes:
      folder: of the unfinished run.
      options: of `configs.training.Training`.
      validations: metrics by epoch; those of the model's own scores when left out.
      steps_per_execution: of the model.
    """

    folder: Path
    options: Mapping[str, object] = field(default_factory=dict)
    validations: Sequence[Scripted] | None = None
    steps_per_execution: int = 1

    def __post_init__(self) -> None:
        training = Training(**{"epochs": 3, "patience": 3, **self.options})
        self.model: ToyModel = toy_model(
            steps=STEPS * training.epochs, steps_per_execution=self.steps_per_execution
        )
        self.examples = toy_examples()
        self.checkpoints = CountedCheckpoints(self.folder, {"code_version": "1"}, self.model)
        self.weights: list[list[np.ndarray]] = []
        self.told: list[Mapping[str, float]] = []
        self.resumed: list[TrainingState] = []
        self._training = training

    def validate(self) -> Scripted | SamplePredictions:
        self.weights.append(values_of(self.model))
        if self.validations is not None:
            return self.validations[len(self.weights) - 1]
        scores = tf.sigmoid(self.model(self.examples.features)).numpy()
        users = np.repeat(["ann", "bob"], 20)
        return SamplePredictions(users, self.examples.item_ids, self.examples.labels, scores)

    def __call__(
        self,
        max_steps: int | None = None,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        on_epoch: Sequence[Callable[[Mapping[str, float]], None]] = (),
    ) -> TrainingState:
        loop = TrainingLoop(
            self.model,
            self._training,
            MemoryInput(self.examples, 8, seed=1),
            self.validate,
            self.checkpoints,
        )
        return loop.run(max_steps, callbacks, [self.told.append, *on_epoch], self.resumed.append)


def scripted(name: str, values: Sequence[float]) -> list[Scripted]:
    return [Scripted({"auc": 0.5, "gauc": 0.5, name: value}, name) for value in values]


def assert_equal_weights(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
    for value, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(value, other)


def without_seconds(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_training_stops_after_patience_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    options = {"epochs": 5, "patience": 2}
    run = Run(tmp_path, options, scripted("auc", [0.6, 0.7, 0.65, 0.7, 0.9]))
    state = run()
    assert (len(state.rows), state.best_epoch, state.is_finished) == (4, 2, True)
    assert best_metrics(state) == {"n": 40, "auc": 0.7, "gauc": 0.5}
    assert_equal_weights(values_of(run.model), run.weights[1])
    assert not np.array_equal(run.weights[1][0], run.weights[3][0])


@pytest.mark.parametrize(
    ("patience", "aucs", "epochs", "best"),
    [
        (2, [0.6, 0.5, 0.7, 0.65], 4, 3),  # A better epoch renews the patience.
        (1, [0.6, 0.5], 2, 1),
        (5, [0.6, 0.5, 0.4, 0.3], 4, 1),
    ],
)
def test_patience_counts_epochs_without_a_better_one(
    tmp_path: Path, patience: int, aucs: list[float], epochs: int, best: int
) -> None:
    state = Run(tmp_path, {"epochs": 4, "patience": patience}, scripted("auc", aucs))()
    assert (len(state.rows), state.best_epoch) == (epochs, best)


@pytest.mark.parametrize(
    ("selection", "own", "metric", "best"),
    [
        ("auto", "auc", "auc", 2),
        ("auc", "auc", "auc", 2),
        ("gauc", "auc", "gauc", 3),
        ("auto", "ndcg_at_10", "ndcg_at_10", 1),
    ],
)
def test_the_selection_decides_what_is_best(
    tmp_path: Path, selection: str, own: str, metric: str, best: int
) -> None:
    columns = {"auc": [0.5, 0.9, 0.6], "gauc": [0.5, 0.6, 0.9], "ndcg_at_10": [0.9, 0.6, 0.5]}
    validations = [
        Scripted({name: values[epoch] for name, values in columns.items()}, own)
        for epoch in range(3)
    ]
    state = Run(tmp_path, {"selection": selection}, validations)()
    assert (state.selection_metric, state.best_epoch) == (metric, best)
    assert best_metrics(state)["gauc"] == columns["gauc"][best - 1]


class Losses(tf.keras.callbacks.Callback):
    """Notes the losses that `fit` reports."""

    def __init__(self) -> None:
        super().__init__()
        self.of_steps: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.of_steps.append(float((logs or {})["loss"]))


@pytest.mark.parametrize(("steps_per_execution", "noted"), [(1, 5), (2, 3)])
def test_rows_say_what_happened_in_every_epoch(
    tmp_path: Path, steps_per_execution: int, noted: int
) -> None:
    losses = Losses()
    run = Run(tmp_path, {"epochs": 2}, steps_per_execution=steps_per_execution)
    state = run(callbacks=[losses])
    assert run.told == state.rows
    measured = ["validation_auc", "validation_logloss", "validation_gauc"]
    for epoch, row in enumerate(state.rows):
        assert [*row][:2] == ["epoch", "train_loss"] and [*row][-2:] == ["learning_rate", "seconds"]
        assert {*measured} <= {*row}
        assert row["epoch"] == epoch + 1
        epoch_losses = losses.of_steps[epoch * noted : (epoch + 1) * noted]
        assert row["train_loss"] == pytest.approx(np.mean(epoch_losses), abs=1e-7)
        # Of the last step, of half a cosine over ten.
        cosine = 0.5 * (1 + math.cos(math.pi * (STEPS * (epoch + 1) - 1) / (2 * STEPS)))
        assert row["learning_rate"] == pytest.approx(0.05 * cosine, abs=1e-7)
    assert len(losses.of_steps) == 2 * noted
    assert int(run.model.optimizer.iterations) == 2 * STEPS
    assert 0 <= state.rows[0]["seconds"] <= state.rows[1]["seconds"]


@pytest.mark.parametrize(
    ("max_steps", "steps", "epochs"), [(3, 3, 1), (5, 5, 1), (6, 6, 2), (10, 10, 2), (99, 15, 3)]
)
def test_training_ends_after_the_steps_it_may_make(
    tmp_path: Path, max_steps: int, steps: int, epochs: int
) -> None:
    run = Run(tmp_path)
    state = run(max_steps)
    assert int(run.model.optimizer.iterations) == steps
    assert len(state.rows) == len(run.weights) == epochs and state.is_finished


@pytest.mark.parametrize(
    ("checkpoint_steps", "steps_per_execution", "saved"),
    [
        (2, 1, [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (1, 5)]),
        (5, 1, [(0, 5), (1, 0), (1, 5), (1, 5)]),
        (1000, 1, [(1, 0), (1, 5)]),
        (0, 1, [(1, 0), (1, 5)]),
        (1, 2, [(0, 2), (0, 4), (0, 5), (1, 0), (1, 2), (1, 4), (1, 5), (1, 5)]),
    ],
)
def test_checkpoints_are_written_every_so_many_steps_and_after_epochs(
    tmp_path: Path, checkpoint_steps: int, steps_per_execution: int, saved: list[tuple[int, int]]
) -> None:
    options = {"epochs": 2, "checkpoint_steps": checkpoint_steps}
    run = Run(tmp_path, options, steps_per_execution=steps_per_execution)
    run()
    assert run.checkpoints.saved == saved


class Kill(tf.keras.callbacks.Callback):
    """Ends the training after some steps, or calls of several steps, of this process."""

    def __init__(self, calls: int):
        super().__init__()
        self._left = calls

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._left -= 1
        if not self._left:
            raise Killed


# Calls of each process before it is killed: in the middle of epochs, before the first checkpoint,
# and in the last step of all.
KILLS = {1: [(1, 3, 7), (4, 2), (5,), (15,)], 2: [(1, 3, 4), (2,), (9,)]}


@pytest.mark.parametrize("steps_per_execution", KILLS)
def test_a_killed_training_ends_as_an_unbroken_one(
    tmp_path: Path, steps_per_execution: int
) -> None:
    unbroken = Run(tmp_path / "unbroken", steps_per_execution=steps_per_execution)
    expected = unbroken()
    for number, kills in enumerate(KILLS[steps_per_execution]):
        folder = tmp_path / str(number)
        options = {"checkpoint_steps": 2}
        for steps in kills:
            with pytest.raises(Killed):
                Run(folder, options, steps_per_execution=steps_per_execution)(
                    callbacks=[Kill(steps)]
                )
        last = Run(folder, options, steps_per_execution=steps_per_execution)
        state = last()
        assert without_seconds(state.rows) == without_seconds(expected.rows)
        assert (state.best, state.best_epoch) == (expected.best, expected.best_epoch)
        assert_equal_weights(values_of(last.model), values_of(unbroken.model))
        assert last.told == state.rows


def test_a_training_goes_on_from_the_end_of_an_epoch(tmp_path: Path) -> None:
    expected = Run(tmp_path / "unbroken")()

    def kill(row: Mapping[str, float]) -> None:
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        Run(tmp_path / "killed")(on_epoch=[kill])
    last = Run(tmp_path / "killed")
    state = last()
    (actual,) = last.resumed
    assert len(last.weights) == 1 and actual is state
    assert int(last.model.optimizer.iterations) == 3 * STEPS
    assert without_seconds(state.rows) == without_seconds(expected.rows)


def test_a_training_that_is_killed_in_validation_validates_again(tmp_path: Path) -> None:
    unbroken = Run(tmp_path / "unbroken")
    expected = unbroken()
    killed = Run(tmp_path / "killed", {"checkpoint_steps": 5}, validations=[])
    with pytest.raises(IndexError):
        killed()
    assert killed.checkpoints.saved == [(0, 5)]
    last = Run(tmp_path / "killed", {"checkpoint_steps": 5})
    state = last()
    assert len(last.weights) == 3
    assert without_seconds(state.rows) == without_seconds(expected.rows)
    assert_equal_weights(values_of(last.model), values_of(unbroken.model))


def test_a_finished_training_that_was_not_written_makes_no_step(tmp_path: Path) -> None:
    validations = scripted("auc", [0.6, 0.7, 0.5])
    first = Run(tmp_path, validations=validations)
    state = first()
    again = Run(tmp_path, validations=[])
    assert again() == state
    assert len(again.resumed) == 1 and again.told == state.rows
    assert_equal_weights(values_of(again.model), first.weights[1])


def test_nothing_is_resumed_at_first(tmp_path: Path) -> None:
    run = Run(tmp_path, {"epochs": 1})
    run()
    assert run.resumed == []


class Ticking(tf.keras.callbacks.Callback):
    """A clock by which every step takes a second; an hour passes between two processes."""

    now = 0.0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        Ticking.now += 1


def test_seconds_are_those_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop.time, "perf_counter", lambda: Ticking.now)
    options = {"checkpoint_steps": 2}
    expected = Run(tmp_path / "unbroken", options)(callbacks=[Ticking()])
    assert [row["seconds"] for row in expected.rows] == [5, 10, 15]
    with pytest.raises(Killed):
        Run(tmp_path / "killed", options)(callbacks=[Ticking(), Kill(8)])
    Ticking.now += 3600
    state = Run(tmp_path / "killed", options)(callbacks=[Ticking()])
    # Ticks come after the checkpoint of their step, so the last one before the kill is lost.
    assert [row["seconds"] for row in state.rows] == [5, 9, 14]


def test_examples_that_end_too_early_are_an_error(tmp_path: Path) -> None:
    class Short(MemoryInput):
        steps = STEPS + 1

    run = Run(tmp_path)
    loop = TrainingLoop(
        run.model, Training(), Short(run.examples, 8, 1), run.validate, run.checkpoints
    )
    with pytest.raises(CommandError, match="ended after step 5 of 6 of epoch 1; .* --force"):
        loop.run()


def test_no_best_metrics_before_the_first_epoch() -> None:
    with pytest.raises(ValueError, match="no finished epoch"):
        best_metrics(TrainingState())
