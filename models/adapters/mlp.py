"""One multilayer perceptron that serves all sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from configs.model import Model
from models.adapters.base import common_options, require_field_width, require_one_dimension
from models.adapters.source_network import NetworkAdapter, SourceNetwork, Tensors
from models.knowledge import KnowledgeTable
from models.layer_support import PACKAGE, share_below_one


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SharedMLP(SourceNetwork):
    """a_t = MLP(x_t) with one MLP for all sources t, every layer Dense ReLU Dropout.

    The first of the variants that REKI (arXiv 2408.10520) compares its experts with: one expert,
    no gate. Layers are those of an expert of `models.hein.HybridExpertNetwork`, with a ReLU after
    the last too, and start with its weights' spread. Vectors of all sources go through one matrix
    product per layer.

    Shapes: source -> [n, dimension] in; source -> [n, units[-1]] out.

    Attributes:
      sources: names of the sources, in output order.
      units: layer widths; the last is the width of the augmented vectors.
      dropout_rate: dropout after every layer, in training only.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("user", "item"),
        units: Sequence[int] = (128, 32),
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the layer; its weights are made when the width of the inputs is known.

        Raises:
          ValueError: no layer, or a width or rate out of range.
        """
        if not units or min(units) < 1:
            raise ValueError(f"units must be positive widths. Received: units={units!r}")
        share_below_one(dropout_rate=dropout_rate)
        super().__init__(sources, units[-1], **kwargs)
        self.units = tuple(units)
        self.dropout_rate = dropout_rate
        self._dropout = tf.keras.layers.Dropout(dropout_rate, dtype=self.dtype_policy)

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Creates kernel and bias of every layer."""
        self._layers = []
        fan_in = self._one_dimension(input_shape)
        for index, width in enumerate(self.units):
            bias = self.add_weight(name=f"bias_{index}", shape=(width,), initializer="zeros")
            self._layers.append((self._kernel(f"kernel_{index}", fan_in, width), bias))
            fan_in = width
        super().build(input_shape)

    def call(self, inputs: Tensors, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Computes the augmented vectors."""
        hidden = self._joined(inputs)
        for kernel, bias in self._layers:
            hidden = tf.nn.relu(tf.linalg.matmul(hidden, kernel) + bias)
            hidden = self._dropout(hidden, training=training)
        return self._parted(hidden, inputs)


def mlp_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> NetworkAdapter:
    """One network of the shape `model.mlp` for all sources.

    Raises:
      ValueError: its width is not model.embedding_dimension, or the sources' widths differ.
    """
    shape = options.mlp
    require_field_width(options, "model.mlp.units", shape.units[-1])
    require_one_dimension("shared MLP", tables)
    network = SharedMLP(tuple(tables), shape.units, shape.dropout_rate)
    return NetworkAdapter(tables, network, **common_options(options))
