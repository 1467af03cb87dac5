"""Optimizers of a training: one for embedding tables, one for all other variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from configs.training import OptimizerName, Schedule, Training
from models.layer_support import PACKAGE
from trainer.model_kinds import UntrainableError

_PART = re.compile(r"/part_\d+$")


def is_embedding_table(variable: tf.Variable) -> bool:
    """Whether a variable holds one vector a row, of which a batch looks up some."""
    return variable.shape.rank == 2 and _own_name(variable).endswith(("embedding", "embeddings"))


def is_dense_kernel(variable: tf.Variable) -> bool:
    """Whether a variable holds matrices that inputs are multiplied by."""
    return (
        variable.shape.rank >= 2
        and "kernel" in _own_name(variable)
        and not is_embedding_table(variable)
    )


def _own_name(variable: tf.Variable) -> str:
    # Under parameter servers a large table is cut into parts, "item_embedding/part_0" and so on.
    return _PART.sub("", variable.name.split(":")[0]).split("/")[-1]


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


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CompositeOptimizer(tf.keras.optimizers.Optimizer):
    """Gives each variable to its optimizer; steps, clipping and weight decay are common to all.

    In a step, gradients are summed over replicas, then rows that a sparse gradient names twice,
    then, with g all gradients together,

        g <- g min(1, global_clipnorm / |g|)
        x <- x - weight_decay rate x        for dense kernels x alone

    and each optimizer's own update follows. The decay is decoupled from the gradient ("Decoupled
    Weight Decay Regularization", arXiv 1711.05101, Algorithm 2, without a schedule beside that of
    the rate). Embeddings, biases and normalisations keep their size: an embedding that is rarely
    met would otherwise fade away.

    `trainer.optimizers` says what tables and kernels are.

    Attributes:
      optimizer: of all variables but embedding tables.
      embedding_optimizer: of embedding tables; None if `optimizer` has them too.
    """

    def __init__(
        self,
        optimizer: tf.keras.optimizers.Optimizer,
        embedding_optimizer: tf.keras.optimizers.Optimizer | None = None,
        weight_decay: float | None = None,
        global_clipnorm: float | None = None,
        name: str = "CompositeOptimizer",
        jit_compile: bool = False,
        **kwargs: object,
    ):
        """Takes over fresh optimizers, whose steps are from now on counted here.

        Args:
          optimizer: of all variables but embedding tables.
          embedding_optimizer: of embedding tables; None for the same.
          weight_decay: share of a dense kernel that a step takes away, times the rate.
          global_clipnorm: largest norm of all gradients together.
          name: of the optimizer.
          jit_compile: whether updates are compiled by XLA on their own.
          **kwargs: of `tf.keras.optimizers.Optimizer`.

        Raises:
          ValueError: an optimizer decays or clips by itself.
        """
        super().__init__(
            name=name,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            jit_compile=jit_compile,
            **kwargs,
        )
        self.optimizer = optimizer
        self.embedding_optimizer = embedding_optimizer
        for inner in self._optimizers:
            if inner.weight_decay or inner.clipnorm or inner.global_clipnorm or inner.clipvalue:
                raise ValueError(
                    "weight decay and clipping concern all variables; give them to the composite. "
                    f"Received: {inner.get_config()}"
                )
            inner.iterations = self.iterations

    @property
    def variables(self) -> list[tf.Variable]:
        """Steps, and what the optimizers remember of each variable."""
        # The first one is the count of steps that an optimizer had before it was taken over.
        remembered = [variable for inner in self._optimizers for variable in inner.variables[1:]]
        return [self.iterations, *remembered]

    @property
    def learning_rate(self) -> tf.Variable:
        """The present rate of all variables but embedding tables."""
        return self.optimizer.learning_rate

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates what the optimizers remember of variables."""
        if getattr(self, "_built", False):
            return
        super().build(var_list)
        tables = [
            variable
            for variable in var_list
            if self.embedding_optimizer is not None and is_embedding_table(variable)
        ]
        self._table_keys = frozenset(self._var_key(variable) for variable in tables)
        self._decayed_keys = frozenset(
            self._var_key(variable) for variable in var_list if is_dense_kernel(variable)
        )
        if self.embedding_optimizer is not None:
            self.embedding_optimizer.build(tables)
        self.optimizer.build(
            [variable for variable in var_list if self._var_key(variable) not in self._table_keys]
        )
        self._built = True

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Applies a gradient by the variable's own optimizer."""
        # By key, because a variable has a name of its own on each device.
        if self.embedding_optimizer is not None and self._var_key(variable) in self._table_keys:
            self.embedding_optimizer.update_step(gradient, variable)
        else:
            self.optimizer.update_step(gradient, variable)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "optimizer": tf.keras.optimizers.serialize(self.optimizer),
            "embedding_optimizer": self.embedding_optimizer
            and tf.keras.optimizers.serialize(self.embedding_optimizer),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, type] | None = None
    ) -> CompositeOptimizer:
        """The optimizer that `get_config` describes."""
        inner = {
            name: config[name] and tf.keras.optimizers.deserialize(config[name], custom_objects)
            for name in ("optimizer", "embedding_optimizer")
        }
        return cls(**{**config, **inner})

    @property
    def _optimizers(self) -> list[tf.keras.optimizers.Optimizer]:
        return [inner for inner in (self.optimizer, self.embedding_optimizer) if inner is not None]

    def _compute_current_learning_rate(self) -> None:
        for inner in self._optimizers:
            inner._compute_current_learning_rate()

    def _clip_gradients(self, grads: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        # Rows are summed first: the norm of parts is another than that of their sum.
        return super()._clip_gradients(super()._deduplicate_sparse_grad(grads))

    def _deduplicate_sparse_grad(self, grads: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        return grads

    def _use_weight_decay(self, variable: tf.Variable) -> bool:
        return self._var_key(variable) in self._decayed_keys


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


def require_steps_after_warmup(training: Training, total_steps: int) -> None:
    """Makes sure that a training goes on after its warm-up.

    Raises:
      trainer.model_kinds.UntrainableError: it does not.
    """
    if training.warmup_steps >= total_steps:
        raise UntrainableError(
            f"training.warmup_steps ({training.warmup_steps:,}) must be less than the steps of the "
            f"training ({total_steps:,}); set it lower, or training.epochs higher"
        )


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
      trainer.model_kinds.UntrainableError: there are no steps left after warm-up.
    """
    require_steps_after_warmup(training, total_steps)
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
