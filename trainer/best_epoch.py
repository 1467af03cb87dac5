"""Validation after every epoch: the best weights are kept, and training stops when it is time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.metrics import AnyMetrics, flat_metrics
from trainer.prediction import NotFiniteError
from trainer.predictions import Predictions

_LOWER_RATE = "Try a lower training.learning_rate"


class BestEpoch(tf.keras.callbacks.Callback):
    """Validates every epoch, keeps the best weights, stops after `patience` worse ones.

    Attributes:
      rows: the training loss and validation metrics of every epoch, for history.csv.
      best: all validation metrics of the best epoch; None before the first one ends.
      best_epoch: counted from 1.
      selection_metric: by which epochs are compared.
    """

    def __init__(self, validate: Callable[[], Predictions], patience: int):
        """Creates the callback.

        Args:
          validate: predictions of the validation part with the present weights.
          patience: epochs without a better result before training stops.
        """
        super().__init__()
        self._validate = validate
        self._patience = patience
        self._weights: list[np.ndarray] = []
        self._losses: list[float] = []
        self.rows: list[dict[str, float]] = []
        self.best: AnyMetrics | None = None
        self.best_epoch = 0
        self.selection_metric = ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Forgets the losses of the epoch before."""
        self._losses = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the loss of a step."""
        # TensorFlow Recommenders reports the loss of the last batch only.
        self._losses.append(float((logs or {})["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates.

        Raises:
          NotFiniteError: the loss, a weight or a score is infinite or NaN.
        """
        loss = float(np.mean(self._losses))
        _require_finite(self.model, loss)
        predictions = self._validate()
        metrics = predictions.metrics()
        self.selection_metric = predictions.selection_metric
        measured = {f"validation_{name}": value for name, value in flat_metrics(metrics).items()}
        self.rows.append({"epoch": epoch + 1, "train_loss": loss, **measured})
        if self.best is None or self._selected(metrics) > self._selected(self.best):
            self.best, self.best_epoch = metrics, epoch + 1
            self._weights = [weight.numpy() for weight in _changing_weights(self.model)]
        elif epoch + 1 - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def last_result(self) -> dict[str, str]:
        """The last epoch's selection metric by name, for people."""
        name = f"validation_{self.selection_metric}"
        return {name: f"{self.rows[-1][name]:.4f}"}

    def restore_best(self, model: tfrs.models.Model) -> None:
        """Puts the best epoch's weights back."""
        for weight, value in zip(_changing_weights(model), self._weights, strict=True):
            weight.assign(value)

    def _selected(self, metrics: AnyMetrics) -> float:
        return metrics[self.selection_metric]


def _changing_weights(model: tfrs.models.Model) -> list[tf.Variable]:
    """Weights that training changes: trained ones and moving statistics of normalisations."""
    normalisations = [
        layer for layer in model.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    moving = [weight for layer in normalisations for weight in layer.non_trainable_weights]
    return [*model.trainable_weights, *moving]


def _require_finite(model: tfrs.models.Model, loss: float) -> None:
    """Checks weights and loss; the loss alone tells little, since ReLU turns NaN into 0."""
    for weight in _changing_weights(model):
        if not np.isfinite(weight.numpy()).all():
            raise NotFiniteError(
                f"variable '{weight.name}' is not finite (the loss is {loss}). {_LOWER_RATE}"
            )
    if not np.isfinite(loss):
        raise NotFiniteError(f"the loss is {loss}, all variables are finite. {_LOWER_RATE}")
