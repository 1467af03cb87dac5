"""The hybridized expert-integrated network (HEIN): knowledge vectors in, augmented vectors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HybridExpertNetwork(tf.keras.layers.Layer):
    """Maps knowledge vectors of several sources to augmented vectors for a ranking model.

    Every source t sees `num_shared_experts` experts that serve all sources and
    `num_dedicated_experts` of its own. With x_t a knowledge vector, E_e the experts and W_t, b_t
    the gate of source t,

        a_t = sum_e softmax(W_t x_t + b_t)_e E_e(x_t),   E_e = Dense ReLU Dropout, layer by layer

    (REKI, arXiv 2408.10520, hybridized expert-integrated network; KAR, arXiv 2306.10933,
    hybrid-expert adaptor). Shared experts come first. There is no top-k, no gate noise and no
    balance loss.

    The experts of a source are computed together: one matrix product for all first layers and the
    gate, one batched product for each later layer.

    Advice: 2 to 5 shared and 2 to 6 dedicated experts. Call it on the distinct ids of a batch, not
    on every sample (`models.adapter.HybridExpertAdapter` does).

    Attributes:
      sources: names of the sources, in output order.
      num_shared_experts: experts that serve all sources.
      num_dedicated_experts: experts of each source alone.
      expert_units: layer widths of an expert; the last is the width of the augmented vectors.
      dropout_rate: dropout after every expert layer, in training only.

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
        if not 0 <= dropout_rate < 1:
            raise ValueError(
                f"dropout_rate must be in [0, 1). Received: dropout_rate={dropout_rate}"
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
            tf.keras.layers.Dropout(self.dropout_rate, dtype=self.dtype_policy)
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
            experts, gate_logits = self._forward(source, inputs[source], training)
            gates = tf.nn.softmax(gate_logits, axis=-1)
            outputs[source] = tf.linalg.matvec(experts, gates, transpose_a=True)
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
            source: tf.nn.softmax(self._forward(source, inputs[source], training=False)[1], axis=-1)
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
            source: self._forward(source, inputs[source], training=False)[0]
            for source in self.sources
        }

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "sources": list(self.sources),
            "num_shared_experts": self.num_shared_experts,
            "num_dedicated_experts": self.num_dedicated_experts,
            "expert_units": list(self.expert_units),
            "dropout_rate": self.dropout_rate,
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
    ) -> tuple[tf.Tensor, tf.Tensor]:
        vectors = tf.cast(vectors, self.compute_dtype)
        layers = self._layers_of(source)
        gate_kernel, gate_bias = self._gates[source]
        first_units = self.expert_units[0]
        first_kernel, first_bias = layers[0]
        fused = tf.linalg.matmul(
            vectors, tf.concat([first_kernel, tf.cast(gate_kernel, self.compute_dtype)], axis=1)
        )
        hidden, gate_logits = tf.split(
            fused, [self.num_experts * first_units, self.num_experts], axis=1
        )
        hidden = tf.nn.relu(hidden + first_bias)
        hidden = tf.reshape(hidden, [-1, self.num_experts, first_units])
        hidden = self._dropouts[0](hidden, training=training)
        for (kernel, bias), dropout in zip(layers[1:], self._dropouts[1:], strict=True):
            hidden = tf.nn.relu(tf.einsum("beu,euv->bev", hidden, kernel) + bias)
            hidden = dropout(hidden, training=training)
        return hidden, gate_logits + tf.cast(gate_bias, self.compute_dtype)

    def _layers_of(self, source: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Kernels and biases, shared experts first: flat in the first layer, then stacked."""
        layers = []
        for index, (shared, dedicated) in enumerate(
            zip(self._shared, self._dedicated[source], strict=True)
        ):
            pairs = [pair for pair in (shared, dedicated) if pair is not None]
            kernel = tf.concat([pair[0] for pair in pairs], axis=1 if index == 0 else 0)
            bias = tf.concat([pair[1] for pair in pairs], axis=0)
            layers.append((tf.cast(kernel, self.compute_dtype), tf.cast(bias, self.compute_dtype)))
        return layers

    def _expert_weights(
        self, name: str, count: int, width: int
    ) -> list[tuple[tf.Variable, tf.Variable] | None]:
        if count == 0:
            return [None] * len(self.expert_units)
        layers: list[tuple[tf.Variable, tf.Variable] | None] = []
        fan_in = width
        for index, units in enumerate(self.expert_units):
            first = index == 0
            kernel_shape = (fan_in, count * units) if first else (count, fan_in, units)
            bias_shape = (count * units,) if first else (count, units)
            layers.append(
                (
                    self._kernel(f"{name}_kernel_{index}", kernel_shape, fan_in, units),
                    self.add_weight(
                        name=f"{name}_bias_{index}", shape=bias_shape, initializer="zeros"
                    ),
                )
            )
            fan_in = units
        return layers

    def _kernel(self, name: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> tf.Variable:
        # Keras would take the fans from the fused shape; an expert's own fans are what the formula
        # means.
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
