"""Two optimizers as one: for embedding tables, and for all other variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.registration import PACKAGE
from trainer.optimizers.variable_kinds import is_dense_kernel, is_embedding_table


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

    `trainer.optimizers.variable_kinds` says what tables and kernels are.

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
