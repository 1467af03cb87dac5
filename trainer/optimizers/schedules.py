"""Learning rates over the steps of a training."""

from __future__ import annotations

import tensorflow as tf

from configs.training import Schedule


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
