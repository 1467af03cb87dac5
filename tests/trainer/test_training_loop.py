from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.training import Training
from models.layer_support import precision
from tests.models.trainable import trainable_model
from tests.runs import shared_store
from tests.scenarios import tiny_scenario
from tests.trainer.toy_training import WIDTH, ToyModel, toy_examples, toy_model, values_of
from trainer import training_loop
from trainer.distribution import LOSSES, Distribution
from trainer.model_kinds import NotFiniteError
from trainer.predictions import SamplePredictions
from trainer.training import train
from trainer.training_checkpoints import TrainingCheckpoints, TrainingState
from trainer.training_input import MemoryInput
from trainer.training_loop import (
    HistoryFile,
    NanGuard,
    ProgressBar,
    TrainingLoop,
    best_metrics,
    counted,
    require_finite,
    still_rises,
)

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


def test_a_mean_of_several_losses_counts_as_often(tmp_path: Path) -> None:
    class InRounds(Distribution):
        def fit(
            self, model: object, examples: object, epoch: int, steps: object, callbacks: Sequence
        ) -> None:
            for callback in callbacks:
                callback.set_model(model)
                callback.on_train_batch_end(3, {"loss": 1.0, LOSSES: 4})
                callback.on_train_batch_end(4, {"loss": 0.0, LOSSES: 1})

    run = Run(tmp_path)
    loop = TrainingLoop(
        run.model,
        Training(epochs=1),
        MemoryInput(run.examples, 8, seed=1),
        run.validate,
        run.checkpoints,
        InRounds(),
    )
    (row,) = loop.run().rows
    assert row["train_loss"] == pytest.approx(4 / 5)


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
    assert run.resumed == []


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


@pytest.mark.parametrize("steps_per_execution", [1, pytest.param(2, marks=pytest.mark.slow)])
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


ROWS = [
    {"epoch": 1, "train_loss": 1 / 3, "validation_auc": 0.1 + 0.2},
    {"epoch": 2, "train_loss": 1e-17, "validation_auc": 0.75},
]


def read(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_every_row_is_there_as_soon_as_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    assert not path.exists()
    for count, row in enumerate(ROWS, start=1):
        history(row)
        assert read(path) == ROWS[:count]
    assert path.read_text().splitlines()[0] == "epoch,train_loss,validation_auc"


def test_a_new_file_takes_the_place_of_an_old_one_at_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,accuracy,longer\n1,2,3\n4,5,6\n")
    history = HistoryFile(path)
    assert "accuracy" in path.read_text()
    history(ROWS[0])
    assert read(path) == ROWS[:1]


def test_columns_are_those_of_the_first_row_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    history(ROWS[0])
    history(dict(reversed(ROWS[1].items())))
    assert read(path) == ROWS


@pytest.mark.parametrize(
    "row",
    [{"epoch": 2, "train_loss": 0.5}, {**ROWS[1], "validation_gauc": 0.5}],
    ids=["one less", "one more"],
)
def test_a_row_with_other_columns_is_refused_and_not_written(tmp_path: Path, row) -> None:
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    history(ROWS[0])
    with pytest.raises(ValueError, match=r"other columns than the first: (train|validation)_"):
        history(row)
    assert read(path) == ROWS[:1]


@pytest.mark.parametrize(
    ("values", "epochs", "patience", "expected"),
    [
        ([0.70], 1, 2, True),
        ([0.70, 0.72, 0.73], 3, 2, True),
        ([0.70, 0.74, 0.72, 0.73], 4, 3, True),
        ([0.70, 0.74, 0.73], 3, 2, False),
        # Patience ended it, at an earlier epoch or at the last one.
        ([0.70, 0.74, 0.71, 0.73], 9, 2, False),
        ([0.70, 0.74, 0.71, 0.73], 4, 2, False),
        ([0.70, 0.70], 2, 2, False),
    ],
)
def test_a_validation_that_still_rises_at_the_last_epoch(
    values: list[float], epochs: int, patience: int, expected: bool
) -> None:
    rows = [{"validation_auc": value} for value in values]
    assert still_rises(rows, "auc", Training(epochs=epochs, patience=patience)) is expected


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool = True) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)


@pytest.mark.parametrize("terminal", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_bar_on_a_terminal_and_a_line_an_epoch_elsewhere(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    on_a_terminal(monkeypatch, terminal)
    scenario = tiny_scenario(
        run_dir=str(tmp_path / "run"), model__adapter="none", training__epochs=1
    )
    train(scenario, shared_store(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("\r" in captured.err) is terminal
    if terminal:
        assert "run epoch 1/1" in captured.err and "validation_auc=0." in captured.err
    else:
        (line,) = [line for line in captured.err.splitlines() if line.startswith("run epoch")]
        assert re.fullmatch(
            r"run epoch 1/1: \d+\.\d steps/s with validation, 00:00 left at most, "
            r"validation_auc 0\.\d{4}",
            line,
        )


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_resumed_epoch_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps_per_execution: int
) -> None:
    on_a_terminal(monkeypatch)
    examples = MemoryInput(toy_examples(80), batch_size=8, seed=1)
    bar = ProgressBar("run", examples.steps, epochs=3)
    model = toy_model(steps_per_execution=steps_per_execution)
    for epoch, first_step in ((1, 3), (2, 0)):
        model.fit(
            examples.epoch(epoch, first_step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=10 - first_step,
            callbacks=[bar],
            verbose=0,
        )
        bar.on_epoch_row({"epoch": epoch + 1, "train_loss": 0.5, "validation_auc": 0.75})
        shown = capsys.readouterr().err
        assert f"run epoch {epoch + 1}/3" in shown and "validation_auc=0.7500" in shown
        assert f"| {first_step}/10" in shown and "| 10/10" in shown
        assert "train_loss" not in shown
    bar.close()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("metric", ["auc", "ndcg_at_10", "new_items_recall_at_10"])
def test_the_metric_of_every_kind_of_model_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    on_a_terminal(monkeypatch)
    bar = ProgressBar("run", steps=2, epochs=1)
    bar.on_epoch_row({"epoch": 1, f"validation_{metric}": 0.123456})
    bar.close()
    assert f"validation_{metric}=0.1235" in capsys.readouterr().err


def test_lines_say_how_much_is_done_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(counted("abc", "evaluating")) == ["a", "b", "c"]
    assert list(counted([], "nothing")) == []
    assert capsys.readouterr().err.splitlines() == ["evaluating: 0 of 3", "evaluating: 3 of 3"]


FIX = "Try a lower training.learning_rate, or a training.gradient_clip_norm"


class Spoil(tf.keras.callbacks.Callback):
    """Makes a number of the model NaN after a step, as an update that went wrong would."""

    def __init__(self, after: int):
        super().__init__()
        self._after = after

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if batch == self._after:
            kernel = self.model.dense.kernel
            kernel.assign(tf.tensor_scatter_nd_update(kernel, [[1, 0]], [np.nan]))


def batches(size: int = 4, spoiled: int | None = None) -> tf.data.Dataset:
    """Ten batches; the inputs of the sample `spoiled` are NaN."""
    examples = toy_examples()
    inputs = examples.features["x"].copy()
    if spoiled is not None:
        inputs[spoiled] = np.nan
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(({"x": inputs}, examples.labels))
    return dataset.batch(size).with_options(options)


def fit(model: ToyModel, dataset: tf.data.Dataset, *callbacks: tf.keras.callbacks.Callback) -> None:
    model.fit(dataset, callbacks=list(callbacks), verbose=0)


def test_a_finite_training_is_left_alone() -> None:
    model = toy_model()
    fit(model, batches(), NanGuard())
    assert int(model.optimizer.iterations) == 10
    require_finite(model, 0.5)


def test_training_ends_in_the_first_step_whose_loss_is_no_number() -> None:
    model = toy_model()
    with pytest.raises(NotFiniteError) as caught:
        fit(model, batches(), NanGuard(), Spoil(after=2))
    # The first step that met it was the fourth, after which no weight is a number.
    assert str(caught.value) == (
        f"step 4: the loss is nan, variable '{model.normalise.gamma.name}' is not finite, nor are "
        f"3 others of 6. {FIX}"
    )
    assert int(model.optimizer.iterations) == 4


def test_several_steps_in_one_call_are_all_looked_at() -> None:
    model = toy_model(steps_per_execution=5)
    with pytest.raises(NotFiniteError, match="^step 5: the loss is nan, variable"):
        fit(model, batches(spoiled=6), NanGuard())


def test_a_loss_of_the_layers_is_named() -> None:
    guard = NanGuard()
    guard.set_model(toy_model())
    with pytest.raises(NotFiniteError) as caught:
        guard.on_train_batch_end(0, {"loss": 0.7, "regularization_loss": np.inf})
    assert str(caught.value) == (
        f"step 0: the regularization loss is inf, all variables are finite. {FIX}"
    )


def test_weights_are_looked_at_though_the_loss_is_finite() -> None:
    model = toy_model()
    moving = model.normalise.moving_variance
    moving.assign(tf.fill([WIDTH], np.inf))
    with pytest.raises(NotFiniteError) as caught:
        require_finite(model, 0.5)
    assert str(caught.value) == (f"variable '{moving.name}' is not finite (the loss is 0.5). {FIX}")


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_is_looked_at_though_weights_are_finite(loss: float) -> None:
    with pytest.raises(NotFiniteError, match=f"^the loss is {loss}, all variables are finite. Try"):
        require_finite(toy_model(), loss)


def test_the_gradient_is_named_where_weights_are_finite() -> None:
    model = toy_model(rate=0.0)
    spoiled = list(batches(spoiled=6))[1]
    guard = NanGuard(batch_of_step=lambda step: [None, spoiled][step])
    guard.set_model(model)
    with pytest.raises(NotFiniteError) as caught:
        guard.on_train_batch_end(1, {"loss": np.nan})
    first = model.trainable_variables[0].name
    assert str(caught.value) == (
        "step 0: the loss is nan, all variables are finite; the gradient of "
        f"'{first}' is not. {FIX}"
    )


def test_a_step_that_loss_scaling_skips_is_no_fault() -> None:
    with precision("mixed_float16"):
        trainable = trainable_model("wide_deep", sources=("item",), match="none")
    model = trainable.model
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.Adam(0.01), initial_scale=2.0**30
    )
    model.compile(optimizer=optimizer)
    guard = NanGuard()
    guard.set_model(model)
    before = [weight.numpy() for weight in model.trainable_weights]
    guard.on_train_batch_end(0, model.train_step((trainable.features, trainable.labels)))
    assert float(optimizer.loss_scale) == 2.0**29
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(NotFiniteError, match="or training.precision=mixed_bfloat16$"):
        guard.on_train_batch_end(0, {"loss": np.inf})
