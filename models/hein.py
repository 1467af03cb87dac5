"""The hybridized expert-integrated network (HEIN): knowledge vectors in, augmented vectors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, share_below_one

TRAINING_PRECISIONS = ("float32", "bfloat16")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HybridExpertNetwork(ConfiguredLayer):
    """Maps knowledge vectors of several sources to augmented vectors for a ranking model.

    Every source t sees `num_shared_experts` experts that serve all sources and
    `num_dedicated_experts` of its own. With x_t a knowledge vector, E_e the experts and W_t, b_t
    the gate of source t,

        a_t = sum_e softmax(W_t x_t + b_t)_e E_e(x_t),   E_e = Dense ReLU Dropout, layer by layer

    (REKI, arXiv 2408.10520, hybridized expert-integrated network; KAR, arXiv 2306.10933,
    hybrid-expert adaptor). Shared experts come first. There is no top-k, no gate noise and no
    balance loss.

    The weights of a pool of experts stand in one array a layer; every expert is a chain of plain
    matrix products, which processors compute faster than batched ones.

    Advice: 2 to 5 shared and 2 to 6 dedicated experts. Call it on the distinct ids of a batch, not
    on every sample (`models.adapters` does).

    Attributes:
      sources: names of the sources, in output order.
      num_shared_experts: experts that serve all sources.
      num_dedicated_experts: experts of each source alone.
      expert_units: layer widths of an expert; the last is the width of the augmented vectors.
      dropout_rate: dropout after every expert layer, in training only.
      training_precision: "float32", or "bfloat16": in training the experts' matrix products read
        bfloat16 and add up in float32, which processors with AMX compute several times faster.
        Inference, and so every export, is the same in both.

    Example:
      >>> network = HybridExpertNetwork(sources=("user", "item"))
      >>> outputs = network({"user": tf.ones([4, 384]), "item": tf.ones([9, 384])})
      >>> outputs["item"].shape
      TensorShape([9, 32])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("user", "item"),
        num_shared_experts: int = 2,
        num_dedicated_experts: int = 5,
        expert_units: Sequence[int] = (128, 32),
        dropout_rate: float = 0.0,
        training_precision: str = "float32",
        **kwargs: object,
    ):
        """Creates the network; its weights are made when the width of the inputs is known.

        Raises:
          ValueError: no source, a source named twice, no expert at all, no layer, or a width or
            rate out of range.
        """
        super().__init__(**kwargs)
        self.sources = tuple(sources)
        self.num_shared_experts = num_shared_experts
        self.num_dedicated_experts = num_dedicated_experts
        self.expert_units = tuple(expert_units)
        self.dropout_rate = dropout_rate
        self.training_precision = training_precision
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(
                f"sources must be distinct names, at least one. Received: sources={sources!r}"
            )
        if min(num_shared_experts, num_dedicated_experts) < 0 or self.num_experts < 1:
            raise ValueError(
                "a source needs at least one expert. Received: "
                f"num_shared_experts={num_shared_experts}, "
                f"num_dedicated_experts={num_dedicated_experts}"
            )
        if not self.expert_units or min(self.expert_units) < 1:
            raise ValueError(
                f"expert_units must be positive widths. Received: expert_units={expert_units!r}"
            )
        share_below_one(dropout_rate=dropout_rate)
        if training_precision not in TRAINING_PRECISIONS:
            raise ValueError(
                f"training_precision must be one of {TRAINING_PRECISIONS}. Received: "
                f"training_precision={training_precision!r}"
            )

    @property
    def num_experts(self) -> int:
        """Experts that one source sees, shared and dedicated."""
        return self.num_shared_experts + self.num_dedicated_experts

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Creates the weights.

        Args:
          input_shape: source -> [batch, width]; the width is the same for every source.

        Raises:
          ValueError: the sources differ from those of the constructor, or their widths differ.
        """
        self._check_sources(input_shape)
        widths = {source: tf.TensorShape(shape)[-1] for source, shape in input_shape.items()}
        if len(set(widths.values())) != 1 or None in widths.values():
            raise ValueError(f"all sources must have one known width. Received: {widths}")
        width = widths[self.sources[0]]
        self._shared = self._expert_weights("shared", self.num_shared_experts, width)
        self._dedicated = {
            source: self._expert_weights(f"dedicated_{source}", self.num_dedicated_experts, width)
            for source in self.sources
        }
        self._gates = {
            source: (
                self._kernel(
                    f"gate_{source}_kernel", (width, self.num_experts), width, self.num_experts
                ),
                self.add_weight(
                    name=f"gate_{source}_bias", shape=(self.num_experts,), initializer="zeros"
                ),
            )
            for source in self.sources
        }
        self._dropouts = [
            tf.keras.layers.Dropout(self.dropout_rate, dtype=self.dtype_policy, autocast=False)
            for _ in self.expert_units
        ]
        super().build(input_shape)

    def call(
        self, inputs: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Computes the augmented vectors.

        Args:
          inputs: source -> [batch, width]; batch sizes may differ between sources.
          training: whether dropout is active.

        Returns:
          source -> [batch, expert_units[-1]], in the order of `sources`.
        """
        self._check_sources(inputs)
        outputs = {}
        for source in self.sources:
            experts, gates = self._forward(source, inputs[source], training)
            shares = tf.split(tf.cast(gates, self.compute_dtype), self.num_experts, axis=1)
            outputs[source] = tf.add_n(
                [
                    share * tf.cast(expert, self.compute_dtype)
                    for share, expert in zip(shares, experts, strict=True)
                ]
            )
        return outputs

    def gates(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The share each expert has in each output.

        Args:
          inputs: source -> [batch, width].

        Returns:
          source -> [batch, experts], shared experts first; rows sum to 1.
        """
        self._build_for(inputs)
        return {
            source: self._forward(source, inputs[source], training=False)[1]
            for source in self.sources
        }

    def experts(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The output of every expert, before the gate.

        Args:
          inputs: source -> [batch, width].

        Returns:
          source -> [batch, experts, expert_units[-1]], shared experts first.
        """
        self._build_for(inputs)
        return {
            source: tf.stack(self._forward(source, inputs[source], training=False)[0], axis=1)
            for source in self.sources
        }

    def compute_output_shape(
        self, input_shape: Mapping[str, tf.TensorShape]
    ) -> dict[str, tf.TensorShape]:
        """Source -> [batch, expert_units[-1]]."""
        return {
            source: tf.TensorShape([tf.TensorShape(input_shape[source])[0], self.expert_units[-1]])
            for source in self.sources
        }

    def _forward(
        self, source: str, vectors: tf.Tensor, training: bool | None
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Outputs [n, units] of every expert, shared ones first, and gates [n, experts]."""
        fast = training and self.training_precision == "bfloat16"
        precision = "bfloat16" if fast else self.compute_dtype
        vectors = tf.cast(vectors, precision)
        gate_kernel, gate_bias = (tf.cast(weight, precision) for weight in self._gates[source])
        gates = tf.nn.softmax(tf.nn.bias_add(tf.linalg.matmul(vectors, gate_kernel), gate_bias))
        experts = [vectors] * self.num_experts
        for index, dropout in enumerate(self._dropouts):
            kernels, biases = self._layer_of(source, index, precision)
            experts = [
                dropout(_dense_relu(hidden, kernel, bias), training=training)
                for hidden, kernel, bias in zip(experts, kernels, biases, strict=True)
            ]
        return experts, gates

    def _layer_of(
        self, source: str, index: int, precision: str
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Kernels and biases of one layer of every expert, shared experts first."""
        kernels, biases = [], []
        for pool in (self._shared, self._dedicated[source]):
            if pool:
                kernel, bias = pool[index]
                kernels += tf.unstack(tf.cast(kernel, precision))
                biases += tf.unstack(tf.cast(bias, precision))
        return kernels, biases

    def _expert_weights(
        self, name: str, count: int, width: int
    ) -> list[tuple[tf.Variable, tf.Variable]]:
        """Kernel [experts, units in, units out] and bias [experts, units out] of each layer."""
        if count == 0:
            return []
        layers = []
        for index, (fan_in, units) in enumerate(
            zip((width, *self.expert_units), self.expert_units, strict=False)
        ):
            kernel = self._kernel(f"{name}_kernel_{index}", (count, fan_in, units), fan_in, units)
            bias = self.add_weight(
                name=f"{name}_bias_{index}", shape=(count, units), initializer="zeros"
            )
            layers.append((kernel, bias))
        return layers

    def _kernel(self, name: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> tf.Variable:
        # Keras would take the experts for a part of the fans; the formula means an expert's own.
        stddev = (2.0 / (fan_in + fan_out)) ** 0.5
        return self.add_weight(
            name=name, shape=shape, initializer=tf.keras.initializers.RandomNormal(stddev=stddev)
        )

    def _build_for(self, inputs: Mapping[str, tf.Tensor]) -> None:
        self._check_sources(inputs)
        if not self.built:
            with tf.name_scope(self.name):
                self._maybe_build(dict(inputs))

    def _check_sources(self, inputs: Mapping[str, object]) -> None:
        if set(inputs) != set(self.sources):
            raise ValueError(
                f"inputs must have the sources {sorted(self.sources)}. Received: {sorted(inputs)}"
            )


def _dense_relu(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(tf.nn.bias_add(tf.linalg.matmul(inputs, kernel), bias))
