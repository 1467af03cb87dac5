"""Stopping a training whose numbers are no longer finite, and saying which ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.prediction import NotFiniteError
from trainer.training_checkpoints import changing_weights

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
        found = f"step {int(self.model.optimizer.iterations):,}: the {wrong[0].replace('_', ' ')} "
        found += f"is {losses[wrong[0]]}"
        reason = _not_finite_weight(self.model)
        if not reason:
            reason = "all variables are finite"
            if self._batch_of_step is not None:
                reason += _not_finite_gradient(self.model, self._batch_of_step(batch))
        raise NotFiniteError(f"{found}, {reason}. {_fix(self.model)}")


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
