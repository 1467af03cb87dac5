"""The epochs of a training: steps, validation, checkpoints, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from configs.training import Training
from trainer.distribution import Distribution
from trainer.metrics import AnyMetrics, flat_metrics
from trainer.nan_guard import NanGuard, require_finite
from trainer.predictions import Predictions
from trainer.training_checkpoints import TrainingCheckpoints
from trainer.training_input import TrainingInput
from trainer.training_state import TrainingState

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
          trainer.prediction.NotFiniteError: the loss, a weight or a score is infinite or NaN.
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
        metrics = {**metrics, chosen: self._distribution.of_chief(metrics[chosen])}
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
        """Notes the loss of a step, or of the last one of several that ran in one call."""
        state = self._state
        state.step = self._first_step + batch + 1
        state.loss_sum += float((logs or {})["loss"])
        state.losses += 1
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
