"""Training one model: epochs, early stopping on validation AUC, and the run folder it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.modelling import Training
from configs.scenario import Scenario
from models.building import build_ranking_model
from models.ranking import RankingModel
from trainer.examples import training_batches
from trainer.metrics import Metrics, evaluate_scores
from trainer.prediction import predict
from trainer.preparation import ExampleStore
from trainer.run_folder import (
    RunMetrics,
    create_weights,
    default_run_folder,
    training_code_version,
)
from trainer.tables import fingerprint

_LOWER_RATE = "Try a lower training.learning_rate"


class NotFiniteError(CommandError):
    """Training produced a number that is not finite; the message names the variable."""


def train(
    scenario: Scenario, store: ExampleStore | None = None, progress: bool = True
) -> RunMetrics:
    """Trains the scenario's model and writes its run folder.

    The weights of the epoch with the best validation AUC are kept; the test part is not read.

    Args:
      scenario: the resolved scenario.
      store: prepared examples shared between runs; a private one when left out.
      progress: whether a progress bar is shown on stderr.

    Returns:
      What metrics.json of the run folder holds.

    Raises:
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
      ConfigurationError: there is no such model.
      CommandError: all samples of a part have one label.
      NotFiniteError: the loss or a weight became infinite or NaN.
      trainer.run_folder.RunFolderError: the run folder holds something else than a run.
    """
    folder = default_run_folder(scenario)
    folder.require_replaceable()
    store = ExampleStore() if store is None else store
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(scenario.training.seed)
    tables = store.tables(scenario)
    try:
        model = build_ranking_model(scenario, tables)
    except ValueError as error:
        raise ConfigurationError(f"the model cannot be built: {error}") from error
    training_examples = store.examples(scenario, model, "train")
    validation_examples = store.examples(scenario, model, "validation")
    for part, examples in (("train", training_examples), ("validation", validation_examples)):
        _require_both_classes(examples.labels, part, scenario.work_dir)
    create_weights(model)
    match = training_examples.features["match"]
    model.scorer.set_match_statistics(match.mean(axis=0), match.std(axis=0))
    started = time.perf_counter()
    steps = -(-len(training_examples) // scenario.training.batch_size)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(
            _learning_rate(scenario.training, steps), epsilon=1e-8, jit_compile=False
        )
    )

    def validate() -> Metrics:
        scores = predict(model, validation_examples)
        if not np.isfinite(scores).all():
            raise NotFiniteError(f"a validation score is not finite. {_LOWER_RATE}")
        return evaluate_scores(validation_examples.labels, scores, validation_examples.user_ids)

    history = _BestEpoch(validate, scenario.training.patience)
    callbacks: list[tf.keras.callbacks.Callback] = [history]
    if progress:
        callbacks.append(_ProgressBar(folder.path.name, steps, scenario.training.epochs, history))
    model.fit(
        training_batches(training_examples, scenario.training.batch_size, scenario.training.seed),
        epochs=scenario.training.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    history.restore_best(model)
    if history.best is None:
        raise NotFiniteError("training ended before the first validation")
    result = RunMetrics(
        run=str(folder.path),
        validation=history.best,
        epochs=len(history.rows),
        best_epoch=history.best_epoch,
        train_seconds=round(time.perf_counter() - started, 3),
        train_samples=len(training_examples),
        trainable_weights=int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        fingerprint=fingerprint(scenario),
        code_version=training_code_version(),
    )
    folder.write(scenario, model, result, history.rows)
    return result


def _learning_rate(
    training: Training, steps_per_epoch: int
) -> float | tf.keras.optimizers.schedules.LearningRateSchedule:
    if training.schedule == "constant":
        return training.learning_rate
    return tf.keras.optimizers.schedules.CosineDecay(
        training.learning_rate, decay_steps=steps_per_epoch * training.epochs
    )


class _BestEpoch(tf.keras.callbacks.Callback):
    """Validates every epoch, keeps the best weights, stops after `patience` worse ones."""

    def __init__(self, validate: Callable[[], Metrics], patience: int):
        super().__init__()
        self._validate = validate
        self._patience = patience
        self._weights: list[np.ndarray] = []
        self._losses: list[float] = []
        self.rows: list[dict[str, float]] = []
        self.best: Metrics | None = None
        self.best_epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._losses = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # TensorFlow Recommenders reports the loss of the last batch only.
        self._losses.append(float((logs or {})["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = float(np.mean(self._losses))
        _require_finite(self.model, loss)
        metrics = self._validate()
        self.rows.append(
            {
                "epoch": epoch + 1,
                "train_loss": loss,
                "validation_auc": metrics["auc"],
                "validation_logloss": metrics["logloss"],
                "validation_gauc": metrics["gauc"],
            }
        )
        if self.best is None or metrics["auc"] > self.best["auc"]:
            self.best, self.best_epoch = metrics, epoch + 1
            self._weights = [weight.numpy() for weight in _changing_weights(self.model)]
        elif epoch + 1 - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def restore_best(self, model: RankingModel) -> None:
        """Puts the best epoch's weights back."""
        for weight, value in zip(_changing_weights(model), self._weights, strict=True):
            weight.assign(value)


def _require_both_classes(labels: np.ndarray, part: str, work_dir: str) -> None:
    if labels.min() == labels.max():
        raise CommandError(
            f"all {len(labels):,} samples of part '{part}' in {work_dir} have the label "
            f"{labels[0]:g}, and AUC needs both; look at data.positive_rating, data.negatives and "
            "split.fractions"
        )


class _ProgressBar(tf.keras.callbacks.Callback):
    """A bar over the steps of all epochs, with the last validation AUC."""

    def __init__(self, name: str, steps: int, epochs: int, history: _BestEpoch):
        super().__init__()
        self._name = name
        # Only on a terminal: in a log file a bar is noise.
        self._bar = tqdm(total=steps, desc=name, unit="step", mininterval=0.5, disable=None)
        self._epochs = epochs
        self._history = history

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.reset()
        self._bar.set_description(f"{self._name} epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.set_postfix(validation_auc=f"{self._history.rows[-1]['validation_auc']:.4f}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


def _changing_weights(model: RankingModel) -> list[tf.Variable]:
    """Weights that training changes: trained ones and moving statistics of normalisations."""
    normalisations = [
        layer for layer in model.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    moving = [weight for layer in normalisations for weight in layer.non_trainable_weights]
    return [*model.trainable_weights, *moving]


def _require_finite(model: RankingModel, loss: float) -> None:
    """Checks weights and loss; the loss alone tells little, since ReLU turns NaN into 0."""
    for weight in _changing_weights(model):
        if not np.isfinite(weight.numpy()).all():
            raise NotFiniteError(
                f"variable '{weight.name}' is not finite (the loss is {loss}). {_LOWER_RATE}"
            )
    if not np.isfinite(loss):
        raise NotFiniteError(f"the loss is {loss}, all variables are finite. {_LOWER_RATE}")
