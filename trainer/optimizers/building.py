"""Building the optimizer and the schedule that a configuration describes."""

from __future__ import annotations

import tensorflow as tf

from configs.loading import ConfigurationError
from configs.training import OptimizerName, Schedule, Training
from trainer.optimizers.composite import CompositeOptimizer, LazyAdam


def learning_rate(
    rate: float, schedule: Schedule, warmup_steps: int, total_steps: int
) -> float | tf.keras.optimizers.schedules.LearningRateSchedule:
    """Warm-up from 0, then the rate as it is or along half a cosine to 0.

    In step t, counted from 0, of T, with W of them for warm-up,

        t < W: rate t / W,   else constant: rate,   cosine: rate (1 + cos(pi (t - W) / (T - W))) / 2

    The cosine is that of "SGDR" (arXiv 1608.03983, Eq. (5)) without restarts; warm-up as in
    "Accurate, Large Minibatch SGD" (arXiv 1706.02677, section 2.2).

    Args:
      rate: the highest rate.
      schedule: "constant" or "cosine".
      warmup_steps: W.
      total_steps: T, steps of the whole training, more than W.

    Returns:
      A number without warm-up and schedule, otherwise one of Keras' schedules.
    """
    schedules = tf.keras.optimizers.schedules
    if schedule == "cosine":
        if not warmup_steps:
            return schedules.CosineDecay(rate, total_steps)
        return schedules.CosineDecay(
            0.0, total_steps - warmup_steps, warmup_target=rate, warmup_steps=warmup_steps
        )
    if not warmup_steps:
        return rate
    # A polynomial of degree 1 from 0 to the rate, which it keeps afterwards.
    return schedules.PolynomialDecay(0.0, warmup_steps, end_learning_rate=rate)


_EPSILON = 1e-8


def build_optimizer(
    training: Training, model: tf.keras.Model, total_steps: int
) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a training, with what it remembers of the model's weights.

    Without options of its own for embeddings, clipping or weight decay it is one of Keras' own.
    With float16 arithmetic it scales losses, so that small gradients do not become 0
    (`models.scoring_model.ScoringModel.train_step` asks it to).

    Args:
      training: optimizers, rates, schedule, clipping, weight decay and precision.
      model: its weights exist; under a strategy, call this in its scope.
      total_steps: steps of the whole training, over which the rates fall.

    Raises:
      ConfigurationError: there are no steps left after warm-up.
    """
    if training.warmup_steps >= total_steps:
        raise ConfigurationError(
            f"training.warmup_steps ({training.warmup_steps:,}) must be less than the steps of the "
            f"training ({total_steps:,}); set it lower, or training.epochs higher"
        )
    optimizer = _optimizer(training.optimizer, training.learning_rate, training, total_steps)
    embedding_optimizer = None
    if training.embedding_optimizer != "same" or training.embedding_learning_rate is not None:
        name = training.embedding_optimizer
        embedding_optimizer = _optimizer(
            training.optimizer if name == "same" else name,
            training.embedding_learning_rate or training.learning_rate,
            training,
            total_steps,
        )
    if embedding_optimizer is not None or training.weight_decay or training.gradient_clip_norm:
        optimizer = CompositeOptimizer(
            optimizer,
            embedding_optimizer,
            weight_decay=training.weight_decay or None,
            global_clipnorm=training.gradient_clip_norm,
        )
    if training.precision == "mixed_float16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    # Before the first step, so that a checkpoint can be restored into them.
    optimizer.build(model.trainable_variables)
    return optimizer


def _optimizer(
    name: OptimizerName, rate: float, training: Training, total_steps: int
) -> tf.keras.optimizers.Optimizer:
    scheduled = learning_rate(rate, training.schedule, training.warmup_steps, total_steps)
    if name == "adam":
        return tf.keras.optimizers.Adam(scheduled, epsilon=_EPSILON, jit_compile=False)
    if name == "lazy_adam":
        return LazyAdam(scheduled, epsilon=_EPSILON, jit_compile=False)
    if name == "adagrad":
        return tf.keras.optimizers.Adagrad(scheduled, jit_compile=False)
    return tf.keras.optimizers.SGD(scheduled, jit_compile=False)
