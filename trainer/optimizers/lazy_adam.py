"""Adam that leaves alone what a batch did not touch."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class LazyAdam(tf.keras.optimizers.Adam):
    """Adam whose sparse gradients cost as much as the rows they name, however large the table is.

    In step t, for every row i that the gradient names, with g_i the sum of its parts,

        m_i <- b_1 m_i + (1 - b_1) g_i
        v_i <- b_2 v_i + (1 - b_2) g_i^2
        x_i <- x_i - rate sqrt(1 - b_2^t) / (1 - b_1^t) m_i / (sqrt(v_i) + epsilon)

    and no other row of m, v or x changes. Dense gradients are applied as by Adam.

    Source: "Adam: A Method for Stochastic Optimization" (Kingma and Ba, ICLR 2015, arXiv
    1412.6980), Algorithm 1 in the order of computation of its section 2, whose epsilon is the one
    here. There a step without a gradient still shrinks m_i and v_i and moves x_i on by what is left
    of m_i; here such a step does not count for row i. t counts all steps, as there, so a row that
    is first met late starts without the correction that a small t brings: its first step is
    (1 - b_1) / sqrt(1 - b_2) times the rate, 3.2 times with the usual b.

    Use it where tables have 100,000 rows or more (docs/training.md).
    """

    def __init__(
        self,
        learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "LazyAdam",
        **kwargs: object,
    ):
        """Creates the optimizer.

        Args:
          learning_rate: rate, or its schedule.
          beta_1: b_1, decay of the first moments m.
          beta_2: b_2, decay of the second moments v.
          epsilon: keeps the division finite.
          name: of the optimizer.
          **kwargs: of `tf.keras.optimizers.Optimizer`.
        """
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name=name, **kwargs)

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Applies a gradient, in which every row is named at most once."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        position = self._index_dict[self._var_key(variable)]
        first, second = self._momentums[position], self._velocities[position]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1_power, beta_2_power = (
            tf.pow(tf.cast(beta, step.dtype), step) for beta in (self.beta_1, self.beta_2)
        )
        rate = tf.cast(self.learning_rate, step.dtype)
        rate = rate * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
        rows, gradients = gradient.indices, gradient.values
        m, v = tf.gather(first, rows), tf.gather(second, rows)
        m += (gradients - m) * (1 - self.beta_1)
        v += (tf.square(gradients) - v) * (1 - self.beta_2)
        first.scatter_update(tf.IndexedSlices(m, rows))
        second.scatter_update(tf.IndexedSlices(v, rows))
        variable.scatter_sub(tf.IndexedSlices(m * rate / (tf.sqrt(v) + self.epsilon), rows))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["amsgrad"]
        return config
