"""The epochs of a training: steps, validation, progress, events, and when to stop."""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from tensorboard.plugins.hparams.api import hparams
from tqdm import tqdm

from configs.command_line import CommandError, say
from configs.progress import progress
from configs.training import Training
from trainer.distribution import LOSSES, Distribution
from trainer.metrics import AnyMetrics, flat_metrics
from trainer.model_kinds import NotFiniteError
from trainer.predictions import Predictions
from trainer.training_checkpoints import TrainingCheckpoints, TrainingState, changing_weights
from trainer.training_input import TrainingInput


class HistoryFile:
    """Writes a line for every row it is called with."""

    def __init__(self, path: Path):
        """Starts a new file, which takes the place of an old one at the first row."""
        self._path = path
        self._columns: list[str] = []

    def __call__(self, row: Mapping[str, float]) -> None:
        """Appends a row.

        Raises:
          ValueError: it has other columns than the first one.
        """
        columns = self._columns or list(row)
        different = sorted({*row} ^ {*columns})
        if different:
            raise ValueError(
                f"{self._path}: a row has other columns than the first: {', '.join(different)}"
            )
        with self._path.open("a" if self._columns else "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            if not self._columns:
                writer.writeheader()
            writer.writerow(row)
        self._columns = columns


def still_rises(rows: Sequence[Mapping[str, float]], metric: str, training: Training) -> bool:
    """Whether `training.epochs` ended a training whose validation result had not come to rest.

    Its last epoch is then the best one, or better than the one before, and patience was left.

    Args:
      rows: of history.csv.
      metric: by which the best epoch was chosen.
      training: bound on epochs, and patience.
    """
    values = [row[f"validation_{metric}"] for row in rows]
    since_best = len(values) - 1 - values.index(max(values))
    if len(values) < training.epochs or since_best >= max(training.patience, 1):
        return False
    return since_best == 0 or values[-1] > values[-2]


def undertrained_text(training: Training) -> str:
    """What a run that `still_rises` is told about."""
    return (
        "validation still rose when training ended after training.epochs="
        f"{training.epochs}; more epochs, or another learning rate, may give a better model, and a "
        "baseline that is not trained to its end flatters what is compared with it"
    )


_SHOWN = ("validation_auc", "validation_ndcg_at_10", "validation_new_items_recall_at_10")

_Item = TypeVar("_Item")


def counted(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """Yields items and says on standard error how many are done.

    On a terminal it is a bar with the time that is left; elsewhere a line at the start, at the end
    and every minute.

    Args:
      items: something to be done for each.
      what: is being done.
    """
    is_terminal = sys.stderr.isatty()
    if items and not is_terminal:
        say(f"{what}: 0 of {len(items)}")
    yield from progress(items, desc=what, unit="item")
    if items and not is_terminal:
        say(f"{what}: {len(items)} of {len(items)}")


class ProgressBar(tf.keras.callbacks.Callback):
    """A bar over the steps of an epoch with the time that is left, and the last validation.

    Where there is no terminal, every epoch has a line, and long ones a line every minute.
    """

    def __init__(self, name: str, steps: int, epochs: int):
        """Creates the bar.

        Args:
          name: of the run.
          steps: of an epoch.
          epochs: at most.
        """
        super().__init__()
        self._name = name
        self._steps = steps
        self._bar = progress(total=steps, desc=name, unit="step", mininterval=0.5)
        self._epochs = epochs
        self._began = time.monotonic()
        self._first_step: float = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Starts again; the steps of a resumed epoch that are done already count as done."""
        self._bar.reset()
        self._bar.initial = self._bar.n = self._steps - self.params["steps"]
        self._began, self._first_step = time.monotonic(), self._bar.n
        self._bar.set_description(f"{self._name} epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Moves on to the step, or past several that ran in one call."""
        self._bar.update(self._bar.initial + batch + 1 - self._bar.n)

    def on_epoch_row(self, row: Mapping[str, float]) -> None:
        """Shows the validation result of a finished epoch."""
        shown = {name: f"{row[name]:.4f}" for name in row if name in _SHOWN}
        self._bar.set_postfix(shown)
        if sys.stderr.isatty():
            return
        seconds = time.monotonic() - self._began
        rate = (self._steps - self._first_step) / max(seconds, 1e-9)
        left = (self._epochs - row["epoch"]) * self._steps / rate if rate else 0.0
        results = "".join(f", {name} {value}" for name, value in shown.items())
        say(
            f"{self._name} epoch {row['epoch']:.0f}/{self._epochs}: {rate:.1f} steps/s with "
            f"validation, {tqdm.format_interval(left)} left at most{results}"
        )

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


_STEPS_BETWEEN = 10


class EventLog(tf.keras.callbacks.Callback):
    """Writes scalars; Keras' own callback opens new files in every call of `fit`, one per epoch.

    Steps are counted by the optimizer, so that a resumed training continues its curves.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str | float | bool] | None = None):
        """Opens an event file in a folder.

        Args:
          folder: made if it is not there.
          settings: by dotted key, for TensorBoard's table of hyper-parameters.
        """
        super().__init__()
        self._next_step = 0
        self._writer = tf.summary.create_file_writer(str(folder))
        if settings:
            with self._writer.as_default(step=0):
                hparams(dict(settings))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes loss and learning rate of the first step, and of one in ten after it.

        Of several steps that run in one call there is the last one only.
        """
        step = int(self.model.optimizer.iterations)
        if step < self._next_step:
            return
        self._next_step = step + _STEPS_BETWEEN
        with self._writer.as_default(step=step):
            tf.summary.scalar("loss", (logs or {})["loss"])
            tf.summary.scalar("learning_rate", self.model.optimizer.learning_rate)

    def on_epoch_row(self, row: Mapping[str, float]) -> None:
        """Writes a row of history.csv at its epoch."""
        with self._writer.as_default(step=int(row["epoch"])):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(f"epoch_{name}", value)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


Batch = tuple[Mapping[str, Any], Any]
"""Features and labels."""

_FIX = "Try a lower training.learning_rate, or a training.gradient_clip_norm"
_LOSSES = ("loss", "regularization_loss")


class NanGuard(tf.keras.callbacks.Callback):
    """Ends a training in the step whose loss is infinite or NaN.

    It reads what `fit` reports anyway. With several steps in one call
    (`training.steps_per_execution`) that is the loss of the last of them. Losses can stay finite
    although weights are not, since ReLU turns NaN into 0: `require_finite` looks at the weights, at
    the end of an epoch.

    With loss scaling a step whose gradients are infinite is skipped and the scale halved. Losses
    are finite then, and nothing is wrong.
    """

    def __init__(self, batch_of_step: Callable[[int], Batch] | None = None):
        """Creates the callback.

        Args:
          batch_of_step: the batch of a step of this call of `fit`, counted from 0; where all
            weights are finite, the guard computes its gradients again to name one that is not.
        """
        super().__init__()
        self._batch_of_step = batch_of_step

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Looks at the losses of a step.

        Raises:
          NotFiniteError: one of them is infinite or NaN.
        """
        losses = {name: float(value) for name, value in (logs or {}).items() if name in _LOSSES}
        wrong = [name for name, value in losses.items() if not np.isfinite(value)]
        if not wrong:
            return
        problem = (
            f"step {int(self.model.optimizer.iterations):,}: the {wrong[0].replace('_', ' ')} "
        )
        problem += f"is {losses[wrong[0]]}"
        reason = _not_finite_weight(self.model)
        if not reason:
            reason = "all variables are finite"
            if self._batch_of_step is not None:
                reason += _not_finite_gradient(self.model, self._batch_of_step(batch))
        raise NotFiniteError(f"{problem}, {reason}. {_fix(self.model)}")


def require_finite(model: tfrs.models.Model, loss: float) -> None:
    """Checks the weights that training changes, and a loss.

    Raises:
      NotFiniteError: a number is infinite or NaN; the message names the variable.
    """
    reason = _not_finite_weight(model)
    if reason:
        raise NotFiniteError(f"{reason} (the loss is {loss}). {_fix(model)}")
    if not np.isfinite(loss):
        raise NotFiniteError(f"the loss is {loss}, all variables are finite. {_fix(model)}")


def _not_finite_weight(model: tfrs.models.Model) -> str:
    """Says which variable is not finite, the first of all; "" if all are."""
    weights = changing_weights(model)
    wrong = [weight for weight in weights if not _is_finite(weight)]
    if not wrong:
        return ""
    others = f", nor are {len(wrong) - 1} others of {len(weights)}" if len(wrong) > 1 else ""
    return f"variable '{wrong[0].name}' is not finite{others}"


def _not_finite_gradient(model: tfrs.models.Model, batch: Batch) -> str:
    with tf.GradientTape() as tape:
        losses = [model.compute_loss(batch, training=True)]
        losses += [tf.cast(tf.reduce_sum(own), tf.float32) for own in model.losses]
        loss = tf.add_n(losses)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None and not _is_finite(gradient):
            return f"; the gradient of '{variable.name}' is not"
    return ""


def _is_finite(values: tf.Tensor | tf.Variable | tf.IndexedSlices) -> bool:
    if isinstance(values, tf.IndexedSlices):
        values = values.values
    return bool(tf.reduce_all(tf.math.is_finite(values)))


def _fix(model: tfrs.models.Model) -> str:
    half = isinstance(model.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    return f"{_FIX}, or training.precision=mixed_bfloat16" if half else _FIX


EpochRow = Mapping[str, float]


class TrainingLoop:
    """Trains a compiled model epoch by epoch and keeps the weights of the best one.

    Every epoch is validated; training stops after `patience` epochs without a better result.
    """

    def __init__(
        self,
        model: tfrs.models.Model,
        training: Training,
        examples: TrainingInput,
        validate: Callable[[], Predictions],
        checkpoints: TrainingCheckpoints,
        distribution: Distribution | None = None,
    ):
        """Connects the parts.

        Args:
          model: compiled.
          training: epochs, patience, selection and checkpoints.
          examples: training examples.
          validate: predictions of the validation part with the present weights.
          checkpoints: of this training.
          distribution: devices and processes that make the steps; one when left out.
        """
        self._model = model
        self._training = training
        self._examples = examples
        self._validate = validate
        self._checkpoints = checkpoints
        self._distribution = distribution or Distribution()

    def run(
        self,
        max_steps: int | None = None,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        on_epoch: Sequence[Callable[[EpochRow], None]] = (),
        on_resume: Callable[[TrainingState], None] = lambda state: None,
    ) -> TrainingState:
        """Trains to the end, from the last checkpoint on if there is one, and restores the best.

        Args:
          max_steps: steps of all epochs, at most.
          callbacks: of Keras, for every step.
          on_epoch: called with the rows of history.csv, those of finished epochs first.
          on_resume: called with the state of the checkpoint, if training goes on from one.

        Returns:
          The state at the end.

        Raises:
          trainer.model_kinds.NotFiniteError: the loss, a weight or a score is infinite or NaN.
          CommandError: there are fewer examples than there should be, or a checkpoint cannot be
            read or written.
        """
        state = self._checkpoints.restore()
        if state is None:
            state = TrainingState()
        else:
            on_resume(state)
        for row in state.rows:
            _tell(on_epoch, row)
        clock = _Clock(state)
        while not state.is_finished:
            self._run_steps(state, max_steps, callbacks, clock)
            self._end_epoch(state, max_steps, clock)
            _tell(on_epoch, state.rows[-1])
        self._checkpoints.restore_best(state.best_epoch)
        return state

    def _run_steps(
        self,
        state: TrainingState,
        max_steps: int | None,
        callbacks: Sequence[tf.keras.callbacks.Callback],
        clock: _Clock,
    ) -> None:
        first = state.step
        last = self._last_step(state, max_steps)
        if first >= last:
            return
        self._distribution.fit(
            self._model,
            self._examples,
            state.epoch,
            (first, last),
            [
                NanGuard(),
                _Steps(state, first, self._training.checkpoint_steps, self._checkpoints, clock),
                *callbacks,
            ],
        )
        if state.step < last:
            raise CommandError(
                f"the training examples ended after step {state.step:,} of {last:,} of epoch "
                f"{state.epoch + 1}; their files hold fewer than their manifest says, run "
                "'python -m preprocessing examples --force'"
            )

    def _last_step(self, state: TrainingState, max_steps: int | None) -> int:
        """Steps of this epoch that are to be made."""
        steps = self._examples.steps
        return steps if max_steps is None else min(steps, max_steps - state.epoch * steps)

    def _end_epoch(self, state: TrainingState, max_steps: int | None, clock: _Clock) -> None:
        require_finite(self._model, state.mean_loss)
        predictions = self._validate()
        metrics = predictions.metrics()
        chosen = state.selection_metric = selection_metric(self._training, predictions)
        epoch = state.epoch + 1
        clock.take()
        measured = {f"validation_{name}": value for name, value in flat_metrics(metrics).items()}
        state.rows.append(
            {
                "epoch": epoch,
                "train_loss": state.mean_loss,
                **measured,
                "learning_rate": float(tf.convert_to_tensor(self._model.optimizer.learning_rate)),
                "seconds": round(state.seconds, 3),
            }
        )
        # Processes on unlike machines may differ in the last digits, and must not in what they do.
        metrics = {**metrics, chosen: self._distribution.chief_value(metrics[chosen])}
        if state.best is None or metrics[chosen] > state.best[chosen]:
            state.best, state.best_epoch = metrics, epoch
            self._checkpoints.save_best(epoch)
        is_last = epoch == self._training.epochs or (
            max_steps is not None and epoch * self._examples.steps >= max_steps
        )
        state.is_finished = is_last or epoch - state.best_epoch >= max(self._training.patience, 1)
        if not state.is_finished:
            state.start_epoch(epoch)
        self._checkpoints.save(state)


def selection_metric(training: Training, predictions: Predictions) -> str:
    """By which metric the best epoch is chosen."""
    return predictions.selection_metric if training.selection == "auto" else training.selection


class _Clock:
    """Adds the time since it was last asked to the state's seconds."""

    def __init__(self, state: TrainingState):
        self._state = state
        self._before = time.perf_counter()

    def take(self) -> None:
        now = time.perf_counter()
        self._state.seconds += now - self._before
        self._before = now


class _Steps(tf.keras.callbacks.Callback):
    """Counts steps and losses, and writes a checkpoint when it is time."""

    def __init__(
        self,
        state: TrainingState,
        first_step: int,
        checkpoint_steps: int,
        checkpoints: TrainingCheckpoints,
        clock: _Clock,
    ):
        super().__init__()
        self._state = state
        self._first_step = first_step
        self._checkpoint_steps = checkpoint_steps or math.inf
        self._checkpoints = checkpoints
        self._clock = clock
        self._saved = first_step

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Notes the loss of a step, of the last one of several in one call, or a mean of some."""
        state = self._state
        state.step = self._first_step + batch + 1
        told = logs or {}
        count = int(told.get(LOSSES, 1))
        state.loss_sum += count * float(told["loss"])
        state.losses += count
        if state.step - self._saved >= self._checkpoint_steps:
            self._saved = state.step
            self._clock.take()
            self._checkpoints.save(state)


def _tell(listeners: Sequence[Callable[[EpochRow], None]], row: EpochRow) -> None:
    for listener in listeners:
        listener(row)


def best_metrics(state: TrainingState) -> AnyMetrics:
    """Validation metrics of the best epoch of a finished training."""
    if state.best is None:
        raise ValueError("the training has no finished epoch")
    return state.best
